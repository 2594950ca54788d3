//! LATENCY GRAPH: a series drawn as rows of characters, with the age of each sample below it.

use crate::observe::EventSeries;
use std::fmt::Write;

/// Maximum number of samples side by side.
const COLUMNS: usize = 80;

/// Number of rows.
const ROWS: usize = 4;

/// The character for the lowest, middle or highest third of a row, depending on where in the row a
/// value ends.
const SIGNS: [char; 3] = ['_', 'o', '#'];

/// Returns the graph of a series.
pub(super) fn draw(name: &str, series: &EventSeries, now_s: u64) -> String {
    let values: Vec<u64> = series.samples.iter().map(|sample| sample.ms).collect();
    let (low, high) = (values.iter().min().unwrap_or(&0), values.iter().max().unwrap_or(&0));
    let ever = series.longest_ms;
    let mut text = format!("{name} - high {high} ms, low {low} ms (all time high {ever} ms)\n");
    text.push_str(&"-".repeat(COLUMNS));
    text.push('\n');
    let ages: Vec<String> =
        series.samples.iter().map(|sample| age(now_s.saturating_sub(sample.unix_s))).collect();
    for (number, (values, ages)) in values.chunks(COLUMNS).zip(ages.chunks(COLUMNS)).enumerate() {
        if number > 0 {
            text.push('\n');
        }
        draw_part(&mut text, values, ages, (*low, *high));
    }
    text
}

fn draw_part(text: &mut String, values: &[u64], ages: &[String], (low, high): (u64, u64)) {
    let steps = SIGNS.len() * ROWS;
    let range = (high - low).max(1);
    let step = |value: u64| (((value - low) * steps as u64 / range) as usize).min(steps - 1);
    for row in (0..ROWS).rev() {
        let signs = values.iter().map(|value| match step(*value).checked_sub(row * SIGNS.len()) {
            None => ' ',
            Some(third) => SIGNS.get(third).copied().unwrap_or('|'),
        });
        writeln!(text, "{}", signs.collect::<String>()).expect("writing to a string does not fail");
    }
    let label = |row: usize| {
        ages.iter().map(move |age| age.chars().nth(row).unwrap_or(' ')).collect::<String>()
    };
    writeln!(text, "{}", " ".repeat(values.len())).expect("writing to a string does not fail");
    for row in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        writeln!(text, "{}", label(row)).expect("writing to a string does not fail");
    }
}

/// Returns an age in the largest unit that does not exceed it.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::LatencyEvents;

    #[test]
    fn a_graph_is_equal_to_the_reference() {
        let events = LatencyEvents::default();
        for (age_s, ms) in [(4_000, 300), (61, 500), (5, 401)] {
            events.add("command", 10_000 - age_s, ms);
        }
        let text = draw("command", &events.series(b"command").unwrap(), 10_000);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "command - high 500 ms, low 300 ms (all time high 500 ms)");
        assert_eq!(lines[1], "-".repeat(80));
        assert_eq!(lines[2..], [" # ", " |_", " ||", "_||", "   ", "115", "hms"]);
    }
}
