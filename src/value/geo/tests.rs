//! Tests of places and searches.

use super::*;
use crate::base::rng::Rng;

fn point(longitude: f64, latitude: f64) -> Point {
    Point { longitude, latitude }
}

fn random(rng: &mut Rng) -> Point {
    let mut part = |max: f64| (rng.below(2_000_001) as f64 / 1_000_000.0 - 1.0) * max;
    point(part(LONGITUDE_MAX), part(LATITUDE_MAX))
}

#[test]
fn scores_are_frozen() {
    let palermo = point(13.361389, 38.115556);
    assert_eq!(palermo.score(), 3_479_099_956_230_698);
    assert_eq!(&palermo.geohash(), b"sqc8b49rny0");
    assert_eq!(
        Point::of_score(3_479_099_956_230_698.0),
        point(13.361389338970184, 38.1155563954963)
    );
    assert_eq!(point(180.0, LATITUDE_MAX).score(), 13_510_798_882_111_488);
    assert_eq!(point(-180.0, -LATITUDE_MAX).score(), 0);
}

#[test]
fn a_score_round_trips_to_less_than_a_metre() {
    let mut rng = Rng::new(1);
    for _ in 0..5_000 {
        let place = random(&mut rng);
        let again = Point::of_score(place.score() as f64);
        assert!(place.distance_m(&again) < 0.7, "{place:?} {again:?}");
        assert!(again.is_on_map());
    }
}

#[test]
fn any_number_gives_a_place_on_the_map() {
    for score in [-1.0, 0.5, 1e20, 1e300, f64::INFINITY, f64::NEG_INFINITY, 4503599627370497.0] {
        assert!(Point::of_score(score).is_on_map(), "{score}");
    }
    assert_eq!((unsigned(-1.0), unsigned(1e19)), (u64::MAX, 10_000_000_000_000_000_000));
    assert_eq!((unsigned(f64::INFINITY), unsigned(f64::NEG_INFINITY)), (0, 1 << 63));
    assert_eq!((signed(1e19), signed(-5.9), signed(f64::NAN)), (i64::MIN, -5, i64::MIN));
}

/// A search's cells cover every place inside its shape, away from the poles and the edge of the
/// map.
#[test]
fn cells_cover_the_shape() {
    let mut rng = Rng::new(9);
    for _ in 0..3_000 {
        let centre = point(rng.below(200) as f64 - 100.0, rng.below(120) as f64 - 60.0);
        let size = 10f64.powi(rng.below(6) as i32) * (1 + rng.below(9)) as f64;
        let shape = match rng.below(3) {
            0 => Shape::Circle { radius: size },
            1 => Shape::Box { width: size, height: size * 2.0 },
            _ => {
                let side = size / 200_000.0;
                let corner = |east: f64, north: f64| {
                    point(centre.longitude + east * side, centre.latitude + north * side)
                };
                Shape::Polygon(vec![corner(-1.0, -1.0), corner(1.0, -0.5), corner(0.0, 1.0)])
            }
        };
        let search = Search::new(shape, centre, 1.0);
        let scores = search.scores();
        assert!((1..=9).contains(&scores.len()));
        for _ in 0..20 {
            let mut near = || (rng.below(2_001) as f64 / 1_000.0 - 1.0) * size / 100_000.0;
            let place = point(centre.longitude + near(), centre.latitude + near());
            let score = place.score();
            let kept = Point::of_score(score as f64);
            if search.distance_m(&kept).is_some() {
                let is_covered = scores.iter().any(|range| range.contains(&score));
                assert!(is_covered, "{search:?} {place:?}");
            }
        }
    }
}

#[test]
fn a_polygon_with_its_centre_off_the_map_is_searched_whole() {
    let corners = [(10.27, 38.76), (159.72, 36.73), (-142.0, -25.0), (11.0, 35.9)];
    let corners = corners.map(|(longitude, latitude)| point(longitude, latitude));
    // Their centre is at 86 degrees north.
    let search = Search::new(Shape::Polygon(corners.to_vec()), Point::default(), 1.0);
    let scores = search.scores();
    assert_eq!(scores.len(), 1);
    for corner in [point(-180.0, -LATITUDE_MAX), point(180.0, LATITUDE_MAX)] {
        assert!(scores[0].contains(&corner.score()));
    }
    assert!(search.distance_m(&point(40.0, 37.0)).is_some());
}

#[test]
fn distances_are_frozen() {
    let (palermo, catania) = (3_479_099_956_230_698.0, 3_479_447_370_796_909.0);
    let distance = Point::of_score(palermo).distance_m(&Point::of_score(catania));
    assert_eq!(format!("{distance:.4}"), "166274.1516");
    assert_eq!(point(7.0, 1.0).distance_m(&point(7.0, 1.0)), 0.0);
}
