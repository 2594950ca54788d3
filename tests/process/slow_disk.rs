//! A disk that is slower than the writers: they wait, and the server's memory stays bounded.

use super::server::{Server, wait_for};
use super::wire::{Wire, info_field, request};
use super::{logs, on_each_setup};
use std::time::Duration;

/// Bytes of one value, and the number of values: more than the file may be behind.
const VALUE_BYTES: usize = 1 << 20;
const VALUES: usize = 300;

fn persistence(wire: &mut Wire, field: &str) -> u64 {
    info_field(&wire.ask(&["INFO", "persistence"]), field).expect("the field is there")
}

#[test]
fn writers_wait_for_a_slow_disk_and_readers_do_not() {
    let arguments = ["--appendonly", "yes", "--appendfsync", "no", "--enable-debug-command", "yes"];
    on_each_setup(&arguments, |server: &Server| {
        let (mut writer, mut reader) = (Wire::connect(server.port), Wire::connect(server.port));
        reader.ask(&["SET", "small", "1"]);
        assert_eq!(reader.ask(&["DEBUG", "AOF-FLUSH-SLEEP", "1000000"]), "+OK");
        let value = "v".repeat(VALUE_BYTES);
        let mut stream = writer.stream.get_ref().try_clone().expect("the socket can be shared");
        let sender = std::thread::spawn(move || {
            for at in 0..VALUES {
                let key = format!("key:{}", at % 8);
                let bytes = request(&["SET", &key, &value]);
                std::io::Write::write_all(&mut stream, &bytes).expect("the server reads on");
            }
        });
        assert!(wait_for(|| persistence(&mut reader, "aof_paused_writes") == 1));
        let mut behind = || persistence(&mut reader, "aof_buffer_length") >> 20;
        assert!(wait_for(|| behind() >= 240), "the file is far behind");
        std::thread::sleep(Duration::from_millis(1_500));
        let later = behind();
        assert!(later <= 270, "{later} MiB behind");
        assert_eq!(reader.ask(&["GET", "small"]), "1", "readers go on");

        assert_eq!(reader.ask(&["DEBUG", "AOF-FLUSH-SLEEP", "0"]), "+OK");
        for _ in 0..VALUES {
            assert_eq!(writer.reply(), "+OK");
        }
        sender.join().expect("the sender does not panic");
        assert!(logs(server, "Commands that write continue."), "{}", server.log());
        assert_eq!(persistence(&mut reader, "aof_paused_writes"), 1);
    });
}
