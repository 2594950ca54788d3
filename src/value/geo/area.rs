//! Searches: a shape around a centre, and the cells that cover it.
//!
//! ```text
//!   +----+----+----+      The cell size is chosen so that the centre's cell and its neighbours
//!   | nw | n  | ne |      cover the shape. Cells that the bounding box does not touch are left
//!   +----+----+----+      out. Each cell is a range of scores. Search order: centre,
//!   | w  | ,-.| e  |      n, s, e, w, ne, nw, se, sw.
//!   +----+ '-'+----+
//!   | sw | s  | se |
//!   +----+----+----+
//! ```

use super::{Area, EARTH_RADIUS_M, LATITUDE_MAX, LONGITUDE_MAX, MAP, Point, STEPS_MAX};
use super::{area_of, cell_of, degrees, latitude_distance_m, radians};
use std::ops::Range;

/// Half the width of the map, in metres at the equator.
const MERCATOR_MAX_M: f64 = 20_037_726.37;

/// The scores of all places: at the north-eastern corner of the map both coordinates have one
/// bit more than elsewhere.
const EVERYWHERE: Range<u64> = 0..1 << (2 * STEPS_MAX + 2);

/// The shape of a search. Lengths are in the unit of the search.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// All places within the radius of the centre.
    Circle {
        /// Radius, in the unit of the search.
        radius: f64,
    },
    /// All places inside a rectangle around the centre.
    Box {
        /// Width from west to east.
        width: f64,
        /// Height from south to north.
        height: f64,
    },
    /// All places inside the polygon with these corners.
    Polygon(Vec<Point>),
}

/// A search.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    shape: Shape,
    centre: Point,
    unit_m: f64,
}

/// A cell: the first `steps` bits of each coordinate, interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    bits: u64,
    steps: u32,
}

/// The bounding box of a shape.
struct Bounds {
    min: Point,
    max: Point,
}

impl Search {
    /// Creates a search for a shape around a place. Lengths are in units of `unit_m` metres. For a
    /// polygon `centre` is ignored: the centre is computed from the corners.
    pub fn new(shape: Shape, centre: Point, unit_m: f64) -> Search {
        let centre = match &shape {
            Shape::Polygon(corners) => centroid(corners),
            _ => centre,
        };
        Search { shape, centre, unit_m }
    }

    /// Returns the metres in a unit of length.
    pub fn unit_m(&self) -> f64 {
        self.unit_m
    }

    /// Returns the distance from the centre to a place in metres; none if the place lies outside.
    #[inline]
    pub fn distance_m(&self, point: &Point) -> Option<f64> {
        match &self.shape {
            Shape::Circle { radius } => {
                let distance = self.centre.distance_m(point);
                let is_outside = distance > radius * self.unit_m;
                (!is_outside).then_some(distance)
            }
            Shape::Box { width, height } => {
                let north = latitude_distance_m(point.latitude, self.centre.latitude);
                if north > height * self.unit_m / 2.0 {
                    return None;
                }
                let beside = Point { latitude: point.latitude, ..self.centre };
                if point.distance_m(&beside) > width * self.unit_m / 2.0 {
                    return None;
                }
                Some(self.centre.distance_m(point))
            }
            Shape::Polygon(corners) => {
                is_inside(corners, point).then(|| self.centre.distance_m(point))
            }
        }
    }

    /// Returns the score ranges that contain all places inside the shape: cell by cell, in the
    /// order of the results.
    ///
    /// The corners of a polygon around a pole can have their centre beyond the edge of the map,
    /// which is in no cell. Then the range has all scores.
    pub fn scores(&self) -> Vec<Range<u64>> {
        if !self.centre.is_on_map() {
            return vec![EVERYWHERE];
        }
        let bounds = self.bounds();
        let mut steps = steps_for(self.radius_m(&bounds), self.centre.latitude);
        if steps > 1 && !is_covered(&self.cell(steps), &bounds) {
            steps -= 1;
        }
        let centre = self.cell(steps);
        let cells = neighbours(centre, steps, &bounds);
        let mut ranges = Vec::with_capacity(9);
        let mut last = None;
        for (at, cell) in cells.into_iter().enumerate() {
            let Some(cell) = cell else { continue };
            // A few large cells wrap around the earth and are neighbours on both sides.
            if last == Some(cell) {
                continue;
            }
            last = (at > 0).then_some(cell);
            let shift = 52 - 2 * cell.steps;
            ranges.push(cell.bits << shift..(cell.bits + 1) << shift);
        }
        ranges
    }

    fn cell(&self, steps: u32) -> Cell {
        Cell { bits: cell_of(&self.centre, steps, MAP), steps }
    }

    fn bounds(&self) -> Bounds {
        let (width, height) = match &self.shape {
            Shape::Circle { radius } => (self.unit_m * radius, self.unit_m * radius),
            Shape::Box { width, height } => (self.unit_m * width / 2.0, self.unit_m * height / 2.0),
            Shape::Polygon(corners) => return bounds_of(corners),
        };
        let Point { longitude, latitude } = self.centre;
        let north = degrees(height / EARTH_RADIUS_M);
        // A degree of longitude is shorter towards the poles.
        let end = if latitude < 0.0 { latitude - north } else { latitude + north };
        let east = degrees(width / EARTH_RADIUS_M / radians(end).cos());
        Bounds {
            min: Point { longitude: longitude - east, latitude: latitude - north },
            max: Point { longitude: longitude + east, latitude: latitude + north },
        }
    }

    /// Returns the distance in metres from the centre to the farthest corner of the shape.
    fn radius_m(&self, bounds: &Bounds) -> f64 {
        let radius = match &self.shape {
            Shape::Circle { radius } => *radius,
            Shape::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
            Shape::Polygon(_) => {
                let Bounds { min, max } = bounds;
                let corners = [
                    (min.longitude, max.latitude),
                    (max.longitude, max.latitude),
                    (min.longitude, min.latitude),
                    (max.longitude, min.latitude),
                ];
                let distance =
                    |(longitude, latitude)| self.centre.distance_m(&Point { longitude, latitude });
                let distances = corners.map(distance);
                let farther = |one, other| if other > one { other } else { one };
                distances.into_iter().reduce(farther).expect("a box has corners")
            }
        };
        radius * self.unit_m
    }
}

/// Returns how many bits per coordinate a cell may have, so that it and its neighbours cover
/// `radius_m` metres around the centre.
fn steps_for(mut radius_m: f64, latitude: f64) -> u32 {
    if radius_m == 0.0 {
        return STEPS_MAX;
    }
    let mut steps = 1;
    while radius_m < MERCATOR_MAX_M {
        radius_m *= 2.0;
        steps += 1;
    }
    steps -= 2;
    if latitude.abs() > 66.0 {
        steps -= 1;
        if latitude.abs() > 80.0 {
            steps -= 1;
        }
    }
    steps.clamp(1, STEPS_MAX as i32) as u32
}

/// Returns whether the neighbours of a cell reach as far as the bounding box.
fn is_covered(cell: &Cell, bounds: &Bounds) -> bool {
    let area = |east, north| {
        let moved = moved(*cell, east, north);
        area_of(moved.bits, moved.steps)
    };
    let is_short = area(0, 1).latitude.1 < bounds.max.latitude
        || area(0, -1).latitude.0 > bounds.min.latitude
        || area(1, 0).longitude.1 < bounds.max.longitude
        || area(-1, 0).longitude.0 > bounds.min.longitude;
    !is_short
}

/// Returns the cell and its eight neighbours in search order. A neighbour that the bounding box
/// does not reach is none.
fn neighbours(centre: Cell, steps: u32, bounds: &Bounds) -> [Option<Cell>; 9] {
    let Area { longitude, latitude } = area_of(centre.bits, centre.steps);
    let (skips_south, skips_north, skips_west, skips_east) = (
        latitude.0 < bounds.min.latitude,
        latitude.1 > bounds.max.latitude,
        longitude.0 < bounds.min.longitude,
        longitude.1 > bounds.max.longitude,
    );
    let order = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
    order.map(|(east, north)| {
        let is_skipped = steps >= 2
            && ((north < 0 && skips_south)
                || (north > 0 && skips_north)
                || (east < 0 && skips_west)
                || (east > 0 && skips_east));
        (!is_skipped).then(|| moved(centre, east, north))
    })
}

/// Returns the neighbour `east` and `north` cells away, each -1, 0 or 1. The map wraps around.
fn moved(cell: Cell, east: i32, north: i32) -> Cell {
    const EASTS: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    const NORTHS: u64 = 0x5555_5555_5555_5555;
    let unused = 64 - 2 * cell.steps;
    // The bits of the other coordinate are set to ones, so that a carry passes through them.
    let add = |bits: u64, others: u64, by: i32| {
        let one = (others >> unused).wrapping_add(1);
        match by {
            0 => bits,
            1 => bits.wrapping_add(one),
            _ => (bits | others >> unused).wrapping_sub(one),
        }
    };
    let x = add(cell.bits & EASTS, NORTHS, east);
    let x = if east == 0 { x } else { x & EASTS >> unused };
    let y = add(cell.bits & NORTHS, EASTS, north);
    let y = if north == 0 { y } else { y & NORTHS >> unused };
    Cell { bits: x | y, ..cell }
}

/// Returns the centroid of corners on a sphere.
fn centroid(corners: &[Point]) -> Point {
    let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
    for corner in corners {
        let (longitude, latitude) = (radians(corner.longitude), radians(corner.latitude));
        x += latitude.cos() * longitude.cos();
        y += latitude.cos() * longitude.sin();
        z += latitude.sin();
    }
    let flat: f64 = x * x + y * y;
    Point { longitude: degrees(y.atan2(x)), latitude: degrees(z.atan2(flat.sqrt())) }
}

fn bounds_of(corners: &[Point]) -> Bounds {
    let mut bounds = Bounds {
        min: Point { longitude: LONGITUDE_MAX, latitude: LATITUDE_MAX },
        max: Point { longitude: -LONGITUDE_MAX, latitude: -LATITUDE_MAX },
    };
    for corner in corners {
        bounds.min.longitude = bounds.min.longitude.min(corner.longitude);
        bounds.min.latitude = bounds.min.latitude.min(corner.latitude);
        bounds.max.longitude = bounds.max.longitude.max(corner.longitude);
        bounds.max.latitude = bounds.max.latitude.max(corner.latitude);
    }
    bounds
}

/// Returns whether the point lies inside the polygon: a ray from the point crosses an odd number of
/// edges.
fn is_inside(corners: &[Point], point: &Point) -> bool {
    let mut inside = false;
    let mut before = corners.last().expect("a polygon has corners");
    for corner in corners {
        let is_beside = (corner.latitude > point.latitude) != (before.latitude > point.latitude);
        if is_beside {
            let edge = (before.longitude - corner.longitude) * (point.latitude - corner.latitude)
                / (before.latitude - corner.latitude)
                + corner.longitude;
            inside ^= point.longitude < edge;
        }
        before = corner;
    }
    inside
}
