//! A client that moves hash slots to and fro, beside the clients whose replies are judged.

use super::{Client, World};
use annulet::base::rng::Rng;
use annulet::base::slot::{SLOT_COUNT, slot_of};
use annulet::resp::Value;

/// One in this many steps begins a move, if none is under way.
const MOVE_ONCE_IN: u64 = 12;

/// The most slots of one move.
const SLOTS_MAX: u64 = 3_000;

/// The mover and its pending command.
pub struct Mover {
    client: Client,
    rng: Rng,
    shards: u64,
    is_out: bool,
}

impl Mover {
    /// Connects a mover to a world.
    pub fn new(world: &World) -> Mover {
        let (client, rng) = (world.connect(), Rng::new(world.seed ^ 0x517e));
        Mover { client, rng, shards: world.mesh.shards() as u64, is_out: false }
    }

    /// Takes a reply. Returns whether a command is pending.
    pub fn read(&mut self) -> bool {
        self.client.pump();
        if let Some(reply) = self.client.try_read() {
            self.is_out = false;
            let is_due = match &reply {
                Value::Error(text) => {
                    text.starts_with(b"TRYAGAIN ") || text.starts_with(b"ERR Each")
                }
                other => *other == super::ok(),
            };
            assert!(is_due, "{reply:?}");
        }
        self.is_out
    }

    /// Sometimes begins a move. Returns whether it did.
    pub fn step(&mut self) -> bool {
        if self.read() || self.rng.below(MOVE_ONCE_IN) != 0 {
            return false;
        }
        let (first, last) = match self.rng.below(2) {
            0 => {
                let first = self.rng.below(u64::from(SLOT_COUNT));
                (first, (first + self.rng.below(SLOTS_MAX)).min(u64::from(SLOT_COUNT) - 1))
            }
            _ => {
                let slot = u64::from(slot_of(self.key().as_bytes()));
                (slot, slot)
            }
        };
        let to = self.rng.below(self.shards);
        let [first, last, to] = [first, last, to].map(|number| number.to_string());
        self.client.send(&["ANNULET", "MOVESLOTS", &first, &last, &to]);
        self.is_out = true;
        true
    }

    /// Draws the name of a key that clients use.
    fn key(&mut self) -> String {
        let kind = ['k', 'q', 'm'][self.rng.below(3) as usize];
        format!("{kind}{}", self.rng.below(if kind == 'k' { 16 } else { 4 }))
    }
}
