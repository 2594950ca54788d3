//! Metrics, a health check and a status page over HTTP, on a separate port.
//!
//! Must not know: shards, connections of clients. All figures are read from the boards and facts of
//! [`Process`]. It sends no message to a shard and changes nothing.
//!
//! ```text
//!   http thread per address --accept--> one thread per connection, CONNECTIONS_MAX at most
//!                                         connection: a head within limits of bytes and time
//!                                           guard:    protected mode, host, password, method,
//!                                                     permission
//!                                             answer: /  /page.*  /status.json  /metrics  /healthz
//! ```
//!
//! It uses plain blocking threads. The port must also answer where io_uring is forbidden, and it
//! serves only a scraper, a probe and a few open pages.

mod connection;
mod guard;
mod json;
pub mod limits;
mod listen;
mod metrics;
mod request;
mod response;
mod status;

pub use listen::start;

use crate::exec::Process;
use response::{Media, Response, Status};

/// The page, which needs no build step. Style and script are separate files, so that the browser
/// can be told to run no inline code.
static PAGE: &str = include_str!("page/page.html");
static STYLE: &str = include_str!("page/page.css");
static SCRIPT: &str = include_str!("page/page.js");

/// Returns the answer to a request that the guards have admitted.
fn answer(process: &Process, path: &str) -> Response {
    match path {
        "/" | "/index.html" => Response::new(Media::Page, PAGE),
        "/page.css" => Response::new(Media::Style, STYLE),
        "/page.js" => Response::new(Media::Script, SCRIPT),
        "/status.json" => Response::new(Media::Json, status::status(process)),
        "/metrics" => Response::new(Media::Exposition, metrics::metrics(process)),
        "/healthz" => match State::of(process) {
            State::Serving => Response::new(Media::Plain, "ok\n"),
            State::Loading => Response::saying(Status::Unavailable, "loading\n"),
            State::Stopping => Response::saying(Status::Unavailable, "stopping\n"),
        },
        _ => Response::of(Status::NotFound),
    }
}

/// The server's state, for load balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Keys are being loaded.
    Loading,
    /// The server runs commands of clients.
    Serving,
    /// The server is shutting down.
    Stopping,
}

impl State {
    fn of(process: &Process) -> State {
        if process.is_stopping() {
            State::Stopping
        } else if process.is_loading() {
            State::Loading
        } else {
            State::Serving
        }
    }

    fn word(self) -> &'static str {
        match self {
            State::Loading => "loading",
            State::Serving => "serving",
            State::Stopping => "stopping",
        }
    }
}

#[cfg(test)]
mod testing {
    //! A process of two shards that do not run.

    use crate::base::clock::{Clock, ManualClock};
    use crate::commands::FAMILIES;
    use crate::config::{Config, ConfigCell};
    use crate::control::ProcessMemory;
    use crate::exec::{CommandTable, Process, ProcessParts};
    use crate::observe::{Boards, Level, Log};
    use std::sync::LazyLock;

    static TABLE: LazyLock<CommandTable> = LazyLock::new(|| CommandTable::new(FAMILIES));

    /// Creates the process with a clock and changed settings.
    pub(super) fn process_on(clock: Clock, change: impl FnOnce(&mut Config)) -> Process {
        let mut config = Config::default();
        change(&mut config);
        Process::new(ProcessParts {
            boards: Boards::new(2, config.databases as usize, TABLE.len()),
            config: ConfigCell::new(config),
            commands: LazyLock::force(&TABLE),
            log: Log::new(None, Level::Nothing, clock.clone()),
            clock,
            run_id: "a".repeat(40),
            paths: ["/bin/annulet".to_string(), String::new()],
            memory: ProcessMemory::open().expect("/proc exists"),
        })
    }

    /// Creates the process with a clock that stands still.
    pub(super) fn process() -> Process {
        process_on(Clock::Manual(ManualClock::new(1_800_000_000_000)), |_| {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Shutdown;

    #[test]
    fn each_path_has_its_answer() {
        let process = testing::process();
        for (path, media) in [
            ("/", Media::Page),
            ("/page.css", Media::Style),
            ("/page.js", Media::Script),
            ("/metrics", Media::Exposition),
            ("/status.json", Media::Json),
            ("/healthz", Media::Plain),
        ] {
            let response = answer(&process, path);
            assert_eq!((response.status, response.media), (Status::Ok, media), "{path}");
        }
        for path in ["", "/metrics/", "/../etc/passwd", "/favicon.ico"] {
            assert_eq!(answer(&process, path).status, Status::NotFound, "{path}");
        }
    }

    #[test]
    fn health_is_bad_while_loading_and_stopping() {
        let process = testing::process();
        assert_eq!(answer(&process, "/healthz").body, "ok\n");
        process.loading.begin(process.shards(), false);
        assert_eq!(answer(&process, "/healthz").status, Status::Unavailable);
        process.loading.shard_done();
        assert_eq!(answer(&process, "/healthz").body, "loading\n");
        process.loading.shard_done();
        assert_eq!(answer(&process, "/healthz").status, Status::Ok);
        process.stop(Shutdown::Terminate);
        assert_eq!(answer(&process, "/healthz").body, "stopping\n");
    }

    #[test]
    fn the_page_loads_nothing_from_other_servers() {
        assert!(PAGE.contains("<link rel=\"stylesheet\" href=\"page.css\">"));
        assert!(PAGE.contains("<script src=\"page.js\" defer></script>"));
        assert_eq!((PAGE.matches("src=").count(), PAGE.matches("<script").count()), (1, 1));
        for mark in ["<style", "style=", "https:", "@import", "url(", "innerHTML", "eval("] {
            for text in [PAGE, STYLE, SCRIPT] {
                assert!(!text.contains(mark), "{mark}");
            }
        }
        let namespace = "http://www.w3.org/2000/svg";
        let hosts = |text: &str| text.matches("http:").count() - text.matches(namespace).count();
        assert_eq!([PAGE, STYLE, SCRIPT].map(hosts), [0; 3]);
    }
}
