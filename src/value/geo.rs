//! Geographic places as sorted set scores, distances between places, and searches nearby.
//!
//! Each coordinate is scaled to 26 bits. The bits of both coordinates are interleaved into the 52
//! bits of a score, so that nearby places often have nearby scores. A cell is an area whose places
//! share the first bits of their scores.
//!
//! ```text
//!   longitude 13.361389     0.53711.. of -180..180       1 0 0 0 1 0 0 1 1 0 0 ..
//!   latitude  38.115556     0.72407.. of -85.05..85.05   1 0 1 1 1 0 0 1 0 1 0 ..
//!   score 3479099956230698  11 00 01 01 11 00 00 11 10 01 00 ..
//! ```
//! The arithmetic matches the reference server to the last bit, because clients see scores and
//! distances.

mod area;

pub use area::{Search, Shape};

/// The highest longitude in degrees. The lowest is its negative.
pub const LONGITUDE_MAX: f64 = 180.0;

/// The highest latitude in degrees, where the square Mercator map ends. The lowest is its negative.
pub const LATITUDE_MAX: f64 = 85.051_128_78;

/// Bits of each coordinate in a score.
const STEPS_MAX: u32 = 26;

const EARTH_RADIUS_M: f64 = 6_372_797.560_856;

const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

/// A place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Degrees east.
    pub longitude: f64,
    /// Degrees north.
    pub latitude: f64,
}

/// The range that coordinates are scaled to: plus and minus these degrees.
#[derive(Clone, Copy, Debug)]
struct Extent {
    longitude: f64,
    latitude: f64,
}

/// The extent of the map that scores use.
const MAP: Extent = Extent { longitude: LONGITUDE_MAX, latitude: LATITUDE_MAX };

/// The extent of the whole earth, which standard geohashes use.
const EARTH: Extent = Extent { longitude: 180.0, latitude: 90.0 };

impl Point {
    /// Returns whether the point lies on the map.
    pub fn is_on_map(&self) -> bool {
        let is_within = |value: f64, max: f64| (-max..=max).contains(&value);
        is_within(self.longitude, LONGITUDE_MAX) && is_within(self.latitude, LATITUDE_MAX)
    }

    /// Returns the score of the point, which must lie on the map.
    pub fn score(&self) -> u64 {
        cell_of(self, STEPS_MAX, MAP)
    }

    /// Returns the centre of a score's cell. A number that is no valid score gives some place on
    /// the map.
    pub fn of_score(score: f64) -> Point {
        let area = area_of(unsigned(score), STEPS_MAX);
        let middle = |range: (f64, f64), max: f64| ((range.0 + range.1) / 2.0).clamp(-max, max);
        Point {
            longitude: middle(area.longitude, LONGITUDE_MAX),
            latitude: middle(area.latitude, LATITUDE_MAX),
        }
    }

    /// Returns the place as a standard geohash of eleven letters.
    pub fn geohash(&self) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = cell_of(self, STEPS_MAX, EARTH);
        // The 52 bits fill ten letters. The eleventh is always the first letter of the alphabet, as
        // in the reference server.
        let mut text = [LETTERS[0]; 11];
        for (at, letter) in text[..10].iter_mut().enumerate() {
            *letter = LETTERS[(bits >> (52 - 5 * (at + 1)) & 0x1f) as usize];
        }
        text
    }

    /// Returns the distance to another place in metres.
    pub fn distance_m(&self, other: &Point) -> f64 {
        let half = (radians(other.longitude) - radians(self.longitude)) / 2.0;
        let v = half.sin();
        // The longitudes differ by a few nanometres at most.
        if v.abs() <= 1e-15 {
            return latitude_distance_m(self.latitude, other.latitude);
        }
        let (one, two) = (radians(self.latitude), radians(other.latitude));
        let u = ((two - one) / 2.0).sin();
        let a = u * u + one.cos() * two.cos() * v * v;
        2.0 * EARTH_RADIUS_M * a.sqrt().asin()
    }
}

fn latitude_distance_m(one: f64, other: f64) -> f64 {
    EARTH_RADIUS_M * (radians(other) - radians(one)).abs()
}

fn radians(degrees: f64) -> f64 {
    degrees * RADIANS_PER_DEGREE
}

fn degrees(radians: f64) -> f64 {
    radians / RADIANS_PER_DEGREE
}

/// Truncates a float to a signed integer, as x86-64 does in the reference server: any number out of
/// range becomes the lowest integer.
pub fn signed(number: f64) -> i64 {
    if number >= i64::MIN as f64 && number < -(i64::MIN as f64) { number as i64 } else { i64::MIN }
}

/// Truncates a float to an unsigned integer, as x86-64 does in the reference server.
fn unsigned(number: f64) -> u64 {
    const HALF: f64 = -(i64::MIN as f64);
    if number < HALF { signed(number) as u64 } else { signed(number - HALF) as u64 ^ 1 << 63 }
}

/// Returns the cell of a place, with `steps` bits for each coordinate.
fn cell_of(point: &Point, steps: u32, extent: Extent) -> u64 {
    let scaled = |value: f64, max: f64| {
        let part = (value + max) / (max + max);
        (part * (1u64 << steps) as f64) as u32
    };
    let latitude = scaled(point.latitude, extent.latitude);
    spread(latitude) | spread(scaled(point.longitude, extent.longitude)) << 1
}

/// Returns the bits of a number, with a zero bit above each. The inverse of [`squeeze`].
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Returns every second bit of a number, the lowest bit first. The inverse of [`spread`].
fn squeeze(number: u64) -> u32 {
    let mut bits = number & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        bits = (bits | bits >> shift) & mask;
    }
    bits as u32
}

/// The area that a cell covers: the lowest and the highest degree of each coordinate.
#[derive(Clone, Copy, Debug)]
struct Area {
    longitude: (f64, f64),
    latitude: (f64, f64),
}

fn area_of(bits: u64, steps: u32) -> Area {
    let cells = (1u64 << steps) as f64;
    let range = |at: u32, max: f64| {
        let place = |at: u32| -max + f64::from(at) / cells * (max + max);
        (place(at), place(at.wrapping_add(1)))
    };
    Area {
        longitude: range(squeeze(bits >> 1), LONGITUDE_MAX),
        latitude: range(squeeze(bits), LATITUDE_MAX),
    }
}

#[cfg(test)]
mod tests;
