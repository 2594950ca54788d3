//! The hash slots of a command's keys, as a cluster checks them.

use super::table::Entry;
use crate::base::slot::slot_of;
use crate::resp::Args;

/// The hash slots of the keys of one or more commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeySlots {
    /// There are no keys.
    #[default]
    None,
    /// All keys are in this slot.
    One(u16),
    /// The keys are in several slots.
    Several,
}

impl KeySlots {
    /// Adds a slot.
    #[inline]
    pub fn add(&mut self, slot: u16) {
        *self = match *self {
            KeySlots::None => KeySlots::One(slot),
            KeySlots::One(known) if known == slot => KeySlots::One(slot),
            _ => KeySlots::Several,
        }
    }

    /// Adds the slots of another command.
    pub fn join(&mut self, other: KeySlots) {
        match other {
            KeySlots::None => {}
            KeySlots::One(slot) => self.add(slot),
            KeySlots::Several => *self = KeySlots::Several,
        }
    }
}

impl Entry {
    /// Returns whether the command can have keys, or channels that belong to slots.
    #[inline]
    pub fn may_have_keys(&self) -> bool {
        !self.command.card.keys.is_empty()
    }

    /// Calls `visit` for the slot of each key, and of each channel that belongs to a slot. Calls it
    /// for none if the arguments do not match the key specs; such a command fails when it runs.
    #[inline]
    pub fn for_each_slot(&self, args: &Args<'_>, visit: &mut dyn FnMut(u16)) {
        if let Some(keys) = self.plain_key_args(args.len()) {
            return keys.for_each(|at| visit(slot_of(&args[at])));
        }
        let card = &self.command.card;
        if card.has_keys() {
            let keys = self.key_args(args).unwrap_or_default();
            return keys.into_iter().for_each(|(at, _)| visit(slot_of(&args[at])));
        }
        let channels = card.channel_args(args.len(), |at| &args[at]);
        channels.into_iter().for_each(|at| visit(slot_of(&args[at])));
    }

    /// Returns the slots of the command's keys.
    #[inline]
    pub fn key_slots(&self, args: &Args<'_>) -> KeySlots {
        let mut slots = KeySlots::None;
        if self.may_have_keys() {
            self.for_each_slot(args, &mut |slot| slots.add(slot));
        }
        slots
    }
}
