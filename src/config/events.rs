//! The setting of keyspace notifications.

use super::card::{Kind, Setting, field};

/// The letters that `A` stands for.
const ALL: &[u8] = b"g$lshzxetd";

/// The other letters, in the order in which they are shown.
const OTHERS: &[u8] = b"nKEm";

/// The cards of these settings.
pub(super) static SETTINGS: &[Setting] =
    &[Setting::new("notify-keyspace-events", Kind::Text(read), "", field!(notify_keyspace_events))
        .shards_settle()];

/// The classes of events that are published, and on which channels.
///
/// ```text
///   bit   0 .. 9: the letters that `A` stands for, in the order of the text   10 .. 13: n K E m
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClasses(u16);

impl EventClasses {
    /// No class.
    pub const NONE: EventClasses = EventClasses(0);

    /// All classes, on both channels.
    pub const EVERY: EventClasses = EventClasses((1 << (ALL.len() + OTHERS.len())) - 1);

    /// Returns the set with this letter alone; empty for `A` and for letters without a meaning.
    pub const fn of(letter: u8) -> EventClasses {
        let mut at = 0;
        while at < ALL.len() + OTHERS.len() {
            let known = if at < ALL.len() { ALL[at] } else { OTHERS[at - ALL.len()] };
            if known == letter {
                return EventClasses(1 << at);
            }
            at += 1;
        }
        EventClasses::NONE
    }

    /// Returns the set that a text of letters names.
    pub fn named(text: &[u8]) -> EventClasses {
        let bits = |letter: &u8| match letter {
            b'A' => (1 << ALL.len()) - 1,
            letter => EventClasses::of(*letter).0,
        };
        EventClasses(text.iter().map(bits).fold(0, |all, bits| all | bits))
    }

    /// Returns whether the set has all of `others`.
    #[inline]
    pub const fn has(self, others: EventClasses) -> bool {
        self.0 & others.0 == others.0
    }

    /// Returns whether events of any class are published: a channel is named, and a class.
    pub const fn publishes(self) -> bool {
        const CHANNELS: u16 = EventClasses::of(b'K').0 | EventClasses::of(b'E').0;
        self.0 & CHANNELS != 0 && self.0 & !CHANNELS != 0
    }

    /// Returns the letters as CONFIG GET shows them.
    pub fn text(self) -> Vec<u8> {
        let has = |letter: &&u8| self.has(EventClasses::of(**letter));
        let all = self.has(EventClasses::named(b"A"));
        let mut text = if all { vec![b'A'] } else { Vec::new() };
        text.extend(ALL.iter().filter(|_| !all).filter(has));
        // Like the reference, which shows `n` only without `A`.
        text.extend(OTHERS.iter().filter(|letter| !all || **letter != b'n').filter(has));
        text
    }
}

/// Reads the setting. Its text is the normal form.
fn read(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let known = |letter: &u8| *letter == b'A' || EventClasses::of(*letter) != EventClasses::NONE;
    if !text.iter().all(known) {
        return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    }
    // `n` stays, although it is not shown beside `A`.
    Ok(text.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_shown_in_one_order() {
        for (text, shown) in [
            ("", ""),
            ("xKEA", "AKE"),
            ("Elg", "glE"),
            ("g$lshzxetd", "A"),
            ("AnKEm", "AKEm"),
            ("mnK", "nKm"),
        ] {
            let classes = EventClasses::named(text.as_bytes());
            assert_eq!(classes.text(), shown.as_bytes(), "{text}");
        }
        assert_eq!(EventClasses::named(b"AnKEm"), EventClasses::EVERY);
    }

    #[test]
    fn a_class_without_a_channel_publishes_nothing() {
        for (text, publishes) in [("A", false), ("KE", false), ("", false), ("Kg", true)] {
            assert_eq!(EventClasses::named(text.as_bytes()).publishes(), publishes, "{text}");
        }
        assert!(EventClasses::named(b"Em").publishes());
    }
}
