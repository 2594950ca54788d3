//! Parsing of the arguments of the commands that search for geospatial positions.

use super::{point_at, unit_m};
use crate::base::number::{parse_f64, parse_i64};
use crate::keyspace::Event;
use crate::resp::{Args, Error};
use crate::value::geo::{Point, Search, Shape};
use crate::value::sorted_set::SortedSet;

/// The command that searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// GEORADIUS, GEORADIUSBYMEMBER and their read-only variants.
    Radius {
        /// Whether the centre is the position of a member.
        by_member: bool,
        /// Whether the command is read-only and does not accept STORE.
        is_read_only: bool,
    },
    /// GEOSEARCH.
    Search,
    /// GEOSEARCHSTORE.
    SearchStore,
}

impl Form {
    /// Returns the event of a command that stores its result.
    pub(super) fn event(self) -> Event {
        match self {
            Form::Radius { .. } => Event::GeoRadiusStore,
            Form::Search | Form::SearchStore => Event::GeoSearchStore,
        }
    }

    /// Returns the index of the argument that is the key.
    pub(super) fn key(self) -> usize {
        if self == Form::SearchStore { 2 } else { 1 }
    }

    /// Returns the index of the first option.
    fn options(self) -> usize {
        match self {
            Form::Radius { by_member: false, .. } => 6,
            Form::Radius { by_member: true, .. } => 5,
            Form::Search => 2,
            Form::SearchStore => 3,
        }
    }

    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }
}

/// The order of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// In the order in which the search finds the members.
    Any,
    /// The nearest member first.
    Asc,
    /// The farthest member first.
    Desc,
}

/// The parsed arguments of a search.
#[derive(Debug)]
pub(super) struct Ask {
    /// The area to search; `None` if the key does not exist, so that the result is empty.
    pub(super) search: Option<Search>,
    pub(super) with_distance: bool,
    pub(super) with_hash: bool,
    pub(super) with_point: bool,
    pub(super) order: Order,
    /// The maximum number of members; 0: no limit.
    pub(super) count: u64,
    /// Whether any `count` members will do, not only the nearest ones.
    pub(super) is_any: bool,
    /// The index of the argument that is the destination key.
    pub(super) store: Option<usize>,
    /// Whether the destination stores distances instead of scores.
    pub(super) stores_distances: bool,
}

/// A parser that reads the arguments from front to back.
struct Reader<'a> {
    args: &'a Args<'a>,
    /// The next argument.
    at: usize,
    form: Form,
    set: Option<&'a SortedSet>,
    /// The position of the centre's member, or the coordinates of the centre.
    from_member: Option<Point>,
    from_point: Option<Point>,
    shape: Option<Shape>,
    unit_m: f64,
    ask: Ask,
}

impl Ask {
    /// Parses the arguments; `set` is the value of the key. Detects errors in the same order as the
    /// reference.
    pub(super) fn parse(
        args: &Args<'_>,
        form: Form,
        set: Option<&SortedSet>,
    ) -> Result<Ask, Error> {
        let ask = Ask {
            search: None,
            with_distance: false,
            with_hash: false,
            with_point: false,
            order: Order::Any,
            count: 0,
            is_any: false,
            store: (form == Form::SearchStore).then_some(1),
            stores_distances: false,
        };
        let mut reader = Reader {
            args,
            at: form.options(),
            form,
            set,
            from_member: None,
            from_point: None,
            shape: None,
            unit_m: 1.0,
            ask,
        };
        reader.fixed()?;
        while reader.at < args.len() {
            reader.option()?;
        }
        reader.check()
    }
}

fn is(arg: &[u8], name: &[u8]) -> bool {
    arg.eq_ignore_ascii_case(name)
}

impl Reader<'_> {
    /// Returns whether at least `count` arguments follow the one at `at`.
    fn has(&self, count: usize) -> bool {
        self.at + count < self.args.len()
    }

    /// Parses the arguments with a fixed position: the centre and the radius of the older commands.
    fn fixed(&mut self) -> Result<(), Error> {
        let Form::Radius { by_member, .. } = self.form else { return Ok(()) };
        if by_member {
            // Without a key the member is not checked.
            let Some(set) = self.set else { return Ok(()) };
            self.from_member = Some(place_of(set, &self.args[2])?);
        } else {
            self.from_point = Some(point_at(self.args, 2)?);
        }
        self.radius(self.at - 2)
    }

    fn radius(&mut self, at: usize) -> Result<(), Error> {
        let radius = length(&self.args[at], "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(Error::other("ERR radius cannot be negative"));
        }
        self.unit_m = unit_m(&self.args[at + 1])?;
        self.shape = Some(Shape::Circle { radius });
        Ok(())
    }

    /// Parses one option with its arguments.
    fn option(&mut self) -> Result<(), Error> {
        let args = self.args;
        let arg = &args[self.at];
        if is(arg, b"WITHDIST") {
            self.ask.with_distance = true;
        } else if is(arg, b"WITHHASH") {
            self.ask.with_hash = true;
        } else if is(arg, b"WITHCOORD") {
            self.ask.with_point = true;
        } else if is(arg, b"ANY") {
            self.ask.is_any = true;
        } else if is(arg, b"ASC") {
            self.ask.order = Order::Asc;
        } else if is(arg, b"DESC") {
            self.ask.order = Order::Desc;
        } else if is(arg, b"COUNT") && self.has(1) {
            let count = parse_i64(&args[self.at + 1]).ok_or(Error::NotInteger)?;
            let refused = || Error::other("ERR COUNT must be > 0");
            self.ask.count = u64::try_from(count).ok().filter(|&n| n > 0).ok_or_else(refused)?;
            self.at += 1;
        } else if self.form.is_search() {
            return self.search_option();
        } else {
            return self.store_option();
        }
        self.at += 1;
        Ok(())
    }

    /// Parses STORE or STOREDIST of the older commands; the last one counts.
    fn store_option(&mut self) -> Result<(), Error> {
        let arg = &self.args[self.at];
        let may_store = matches!(self.form, Form::Radius { is_read_only: false, .. });
        let is_distances = is(arg, b"STOREDIST");
        if !may_store || !self.has(1) || !(is_distances || is(arg, b"STORE")) {
            return Err(Error::Syntax);
        }
        self.ask.store = Some(self.at + 1);
        self.ask.stores_distances = is_distances;
        self.at += 2;
        Ok(())
    }

    /// Parses an option of the newer commands. An option that conflicts with an earlier centre or
    /// shape is refused.
    fn search_option(&mut self) -> Result<(), Error> {
        let args = self.args;
        let arg = &args[self.at];
        let is_polygon = matches!(self.shape, Some(Shape::Polygon(_)));
        if is(arg, b"STOREDIST") && self.form == Form::SearchStore {
            self.ask.stores_distances = true;
            self.at += 1;
        } else if is(arg, b"FROMMEMBER") && self.has(1) && self.from_point.is_none() && !is_polygon
        {
            let member = &args[self.at + 1];
            // Without a key the remaining arguments are still checked.
            let place = self.set.map_or(Ok(Point::default()), |set| place_of(set, member))?;
            self.from_member = Some(place);
            self.at += 2;
        } else if is(arg, b"FROMLONLAT") && self.has(2) && self.from_member.is_none() && !is_polygon
        {
            self.from_point = Some(point_at(args, self.at + 1)?);
            self.at += 3;
        } else if is(arg, b"BYRADIUS") && self.has(2) && self.may_be_circle() {
            self.radius(self.at + 1)?;
            self.at += 3;
        } else if is(arg, b"BYBOX") && self.has(3) && self.may_be_box() {
            self.shape = Some(self.box_at(self.at + 1)?);
            self.unit_m = unit_m(&args[self.at + 3])?;
            self.at += 4;
        } else if is(arg, b"BYPOLYGON") && self.has(2) && self.may_be_polygon() {
            return self.polygon();
        } else {
            return Err(Error::Syntax);
        }
        Ok(())
    }

    fn may_be_circle(&self) -> bool {
        matches!(self.shape, None | Some(Shape::Circle { .. }))
    }

    fn may_be_box(&self) -> bool {
        matches!(self.shape, None | Some(Shape::Box { .. }))
    }

    fn may_be_polygon(&self) -> bool {
        let is_free = matches!(self.shape, None | Some(Shape::Polygon(_)));
        is_free && self.from_member.is_none() && self.from_point.is_none()
    }

    fn box_at(&self, at: usize) -> Result<Shape, Error> {
        let width = length(&self.args[at], "ERR need numeric width")?;
        let height = length(&self.args[at + 1], "ERR need numeric height")?;
        if height < 0.0 || width < 0.0 {
            return Err(Error::other("ERR height or width cannot be negative"));
        }
        Ok(Shape::Box { width, height })
    }

    fn polygon(&mut self) -> Result<(), Error> {
        let first = self.at + 2;
        let refused = || Error::other("ERR invalid number of vertices");
        let corners = parse_i64(&self.args[self.at + 1]).ok_or_else(refused)?;
        let corners = i32::try_from(corners).map_err(|_| refused())?;
        let room = (self.args.len() - first) / 2;
        let is_enough = |&corners: &usize| (3..=room).contains(&corners);
        let corners = usize::try_from(corners)
            .ok()
            .filter(is_enough)
            .ok_or(Error::other("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices"))?;
        let points = (0..corners).map(|at| point_at(self.args, first + 2 * at));
        self.shape = Some(Shape::Polygon(points.collect::<Result<_, _>>()?));
        self.unit_m = 1.0;
        self.at = first + 2 * corners;
        Ok(())
    }

    /// Checks that the required options are there and that no options conflict.
    fn check(mut self) -> Result<Ask, Error> {
        let ask = &self.ask;
        if ask.store.is_some() && (ask.with_distance || ask.with_hash || ask.with_point) {
            let who = match self.form {
                Form::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return Err(Error::other(format!(
                "ERR {who} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let is_polygon = matches!(self.shape, Some(Shape::Polygon(_)));
        let centre = self.from_member.or(self.from_point);
        if self.form.is_search() {
            let name = &self.args[0];
            if centre.is_none() && !is_polygon {
                let what = b"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ";
                return Err(Error::quoting(&[what, name]));
            }
            if self.shape.is_none() {
                let what =
                    b"ERR exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for ";
                return Err(Error::quoting(&[what, name]));
            }
        }
        if ask.is_any && ask.count == 0 {
            return Err(Error::other("ERR the ANY argument requires COUNT argument"));
        }
        let search = |shape| Search::new(shape, centre.unwrap_or_default(), self.unit_m);
        self.ask.search = self.shape.take().filter(|_| self.set.is_some()).map(search);
        // COUNT without ANY returns the nearest members.
        if self.ask.count > 0 && self.ask.order == Order::Any && !self.ask.is_any {
            self.ask.order = Order::Asc;
        }
        Ok(self.ask)
    }
}

fn length(arg: &[u8], refused: &'static str) -> Result<f64, Error> {
    parse_f64(arg).ok_or(Error::other(refused))
}

fn place_of(set: &SortedSet, member: &[u8]) -> Result<Point, Error> {
    let score = set.score(member);
    let missing = || Error::quoting(&[b"ERR member ", member, b" does not exist"]);
    score.map(Point::of_score).ok_or_else(missing)
}
