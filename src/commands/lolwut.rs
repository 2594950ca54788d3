//! LOLWUT: a drawing with the version below it. The drawing shows annulets: linked rings in a row,
//! one per shard up to [`RINGS_MAX`].

use super::connection::{REDIS_VERSION, VALKEY_VERSION};
use crate::base::number::{parse_f64, parse_i64};
use crate::exec::{Command, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group};

pub(super) static LOLWUT: Command = Command::session(
    lolwut,
    Card::new("lolwut", Group::Server, "5.0.0")
        .summary("Displays computer art and the server version.")
        .steady()
        .arity(-1)
        .flags(Flag::READONLY.and(Flag::FAST))
        .args(&[Arg::integer("version").after("VERSION").optional()]),
);

/// Default size of a drawing: columns and rows.
const SIZE: (usize, usize) = (80, 15);

/// Maximum size of a drawing: columns and rows.
const SIZE_MAX: (usize, usize) = (160, 80);

/// Maximum number of rings.
const RINGS_MAX: usize = 12;

/// Ratio of a character's height to its width.
const ASPECT: f64 = 2.0;

/// The versions of the reference that have a drawing.
const DRAWN: [i64; 3] = [5, 6, 9];

fn lolwut(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let number = |at: usize| match args.get(at) {
        None => Ok(None),
        Some(arg) => parse_i64(arg).map(Some).ok_or(Error::NotInteger),
    };
    let has_version = args.len() >= 3 && args[1].eq_ignore_ascii_case(b"version");
    let version = if has_version { number(2)?.unwrap_or(0) } else { DRAWN[2] };
    let first = if has_version { 3 } else { 1 };
    let is_redis = cx.process.config.snapshot().extended_redis_compatibility;
    let (name, its) = if is_redis { ("Redis", REDIS_VERSION) } else { ("Valkey", VALKEY_VERSION) };
    if !DRAWN.contains(&version) {
        cx.reply.verbatim("txt", format!("{name} ver.{its}\n").as_bytes());
        return Ok(());
    }
    if version == 9 {
        check_args(args, first)?;
    }
    let bounded = |asked: Option<i64>, default: usize, max: usize| match asked {
        None => default,
        Some(asked) => asked.clamp(1, max as i64) as usize,
    };
    let columns = bounded(number(first)?, SIZE.0, SIZE_MAX.0);
    let rows = bounded(number(first + 1)?, SIZE.1, SIZE_MAX.1);
    let mut text = draw(columns, rows, cx.process.shards().min(RINGS_MAX));
    text.push_str(&format!("\nOne annulet for each shard. {name} ver. {its}\n"));
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Checks the arguments as the reference's last drawing does: none, a size, or a size and a point.
/// The point is ignored.
fn check_args(args: &Args<'_>, first: usize) -> Result<(), Error> {
    match args.len() - first {
        0 | 2 => Ok(()),
        4 if args.iter_from(first + 2).all(|arg| parse_f64(arg).is_some()) => Ok(()),
        4 => Err(Error::NotFloat),
        _ => Err(Error::other("ERR Syntax error. Use: LOLWUT [columns rows] [real imaginary]")),
    }
}

/// Returns a drawing of rings in a row, each linked to the next.
fn draw(columns: usize, rows: usize, rings: usize) -> String {
    let (width, height) = (columns as f64, rows as f64 * ASPECT);
    // The centres of neighbours are one and a half radii apart.
    let span = 1.5 * (rings - 1) as f64 + 2.0;
    let radius = (width / (span + 0.4)).min(height / 2.4);
    let left = (width - radius * 1.5 * (rings - 1) as f64) / 2.0;
    let mut text = String::with_capacity((columns + 1) * rows);
    for row in 0..rows {
        let y = (row as f64 + 0.5) * ASPECT - height / 2.0;
        let line: String = (0..columns)
            .map(|column| {
                let away = (0..rings).map(|ring| {
                    let x = column as f64 + 0.5 - left - radius * 1.5 * ring as f64;
                    (x.hypot(y) - radius).abs()
                });
                match away.fold(f64::INFINITY, f64::min) {
                    away if away < 0.5 => '@',
                    away if away < 1.0 => 'o',
                    away if away < 1.7 => '.',
                    _ => ' ',
                }
            })
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::{SessionBench, show};

    #[test]
    fn a_drawing_ends_with_the_version() {
        let mut bench = SessionBench::new();
        for args in [&["LOLWUT"][..], &["lolwut", "version", "5", "40", "20"]] {
            let shown = show(&bench.run(args).expect("a reply"));
            assert!(shown.contains('@') && shown.ends_with("Valkey ver. 9.1.2\n\""), "{shown}");
        }
        bench.check_script(
            "
            LOLWUT x => -ERR Syntax error. Use: LOLWUT [columns rows] [real imaginary]
            LOLWUT VERSION => -ERR Syntax error. Use: LOLWUT [columns rows] [real imaginary]
            LOLWUT x 1 => -ERR value is not an integer or out of range
            LOLWUT 1 1 x 1 => -ERR value is not a valid float
            LOLWUT VERSION 5 x => -ERR value is not an integer or out of range
            LOLWUT VERSION x => -ERR value is not an integer or out of range
            LOLWUT VERSION 9 1 y => -ERR value is not an integer or out of range
            ",
        );
        let shown = show(&bench.run(&["LOLWUT", "VERSION", "7"]).expect("a reply"));
        assert_eq!(shown, "\"Valkey ver.9.1.2\n\"");
        let mut bench = SessionBench::with(|config| config.extended_redis_compatibility = true);
        let shown = show(&bench.run(&["LOLWUT"]).expect("a reply"));
        assert!(shown.ends_with("Redis ver. 7.2.4\n\""), "{shown}");
    }

    #[test]
    fn rings_fit_and_are_closed() {
        let text = draw(40, 10, 1);
        assert_eq!(text.lines().count(), 10);
        assert!(text.lines().all(|line| line.len() <= 40));
        let middle = text.lines().nth(5).expect("a line").trim();
        assert!(middle.starts_with(['.', 'o', '@']) && middle.contains("     "), "{text}");
        let most = draw(SIZE_MAX.0, SIZE_MAX.1, RINGS_MAX);
        assert!(most.lines().all(|line| line.len() <= SIZE_MAX.0));
        assert_eq!(draw(1, 1, 3).lines().count(), 1);
    }
}
