//! Parses INFO's text into sections of fields.

/// The fields of INFO, in their order.
#[derive(Debug)]
pub(super) struct Info<'a>(Vec<Field<'a>>);

#[derive(Debug)]
struct Field<'a> {
    section: &'a str,
    name: &'a str,
    value: &'a str,
}

impl<'a> Info<'a> {
    /// Parses the text.
    pub(super) fn read(text: &'a str) -> Info<'a> {
        let mut section = "";
        let mut fields = Vec::new();
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("# ") {
                section = title;
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push(Field { section, name, value });
            }
        }
        Info(fields)
    }

    /// Returns the value of a field.
    pub(super) fn field(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|field| field.name == name).map(|field| field.value)
    }

    /// Returns the names and values of one section.
    pub(super) fn section(&self, title: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let fields = self.0.iter().filter(move |field| field.section == title);
        fields.map(|field| (field.name, field.value))
    }
}

/// Returns a part of a value such as `calls=4,usec=6`.
pub(super) fn part<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let parts = value.split(',').filter_map(|part| part.split_once('='));
    parts.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_parsed() {
        let info = Info::read("# One\r\na:1\r\nb:x:y\r\n\r\n# Two\r\nc:calls=4,usec=6\r\n");
        assert_eq!(info.field("b"), Some("x:y"));
        assert_eq!(info.field("d"), None);
        let two: Vec<_> = info.section("Two").collect();
        assert_eq!(two, [("c", "calls=4,usec=6")]);
        assert_eq!((part(two[0].1, "usec"), part(two[0].1, "use")), (Some("6"), None));
    }
}
