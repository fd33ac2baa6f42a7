//! Sections and channels that are read by the tables of [`crate::schema`].

use super::problems::Problems;
use super::reader::{Field, Table, list, shown};
use crate::schema::{Key, Shape};
use crate::settings::{Secret, SecretText, Setting, Settings};
use crate::units;
use serde_spanned::Spanned;
use toml::de::DeValue;

/// The values of these keys, defaults filled in.
pub(super) fn read(mut table: Table<'_, '_>, keys: &'static [Key], problems: &mut Problems) -> Settings {
    let mut settings = defaults(keys);
    for key in keys {
        let setting = match key.shape {
            Shape::Secret => secret(key, &mut table, problems).map(Setting::Secret),
            _ => table.field(key.name, key.example).and_then(|field| value(key, &field, problems)),
        };
        if let Some(setting) = setting {
            settings.0.insert(key.name, setting);
        }
    }
    table.finish(problems);
    settings
}

/// The values of these keys in a section that the text does not have.
pub(super) fn defaults(keys: &'static [Key]) -> Settings {
    let of = |key: &'static Key| {
        let setting = match key.shape {
            Shape::Table(keys) => Some(Setting::Table(defaults(keys))),
            // A test reads every default, so none is lost here.
            _ => DeValue::parse(key.default).ok().and_then(|default| default_value(key, &default)),
        };
        setting.map(|setting| (key.name, setting))
    };
    Settings(keys.iter().filter_map(of).collect())
}

fn default_value(key: &'static Key, default: &Spanned<DeValue<'_>>) -> Option<Setting> {
    value(key, &Field::new(key.name, key.example, default), &mut Problems::default())
}

fn value(key: &'static Key, field: &Field<'_, '_>, problems: &mut Problems) -> Option<Setting> {
    let line = |problems: &mut Problems| field.line(problems).map(str::to_owned);
    match key.shape {
        Shape::Flag => field.flag(problems).map(Setting::Flag),
        Shape::Integer(min, max) => field.integer(min, max, problems).map(Setting::Integer),
        Shape::Text => line(problems).map(Setting::Text),
        Shape::OneOf(words) => {
            let word = field.one_of(words, problems).and_then(|index| words.get(index))?;
            Some(Setting::Text((*word).to_owned()))
        }
        Shape::Texts => each(field, problems, Field::line).map(Setting::Texts),
        Shape::SomeOf(words) => {
            let chosen =
                field.list(problems)?.iter().filter_map(|e| e.one_of(words, problems)).collect::<Vec<_>>();
            let chosen = chosen.iter().filter_map(|index| words.get(*index)).map(|word| (*word).to_owned());
            Some(Setting::Texts(chosen.collect()))
        }
        Shape::Command => command(field, problems).map(Setting::Texts),
        Shape::Duration => field.quantity(units::parse_duration, problems).map(Setting::Duration),
        Shape::Size => field.quantity(units::parse_size, problems).map(Setting::Size),
        Shape::Windows => windows(field, problems).map(Setting::Windows),
        Shape::Path => absolute(field, problems).map(str::to_owned).map(Setting::Text),
        Shape::Paths => each(field, problems, absolute).map(Setting::Texts),
        Shape::Url => url(field, problems).map(Setting::Text),
        Shape::SyslogAddress => syslog_address(field, problems).map(Setting::Text),
        Shape::Listen => listen(field, problems).map(Setting::Text),
        Shape::Table(keys) => field.table(problems).map(|table| Setting::Table(read(table, keys, problems))),
        Shape::Secret => None,
    }
}

fn each<'t, 'i>(
    field: &Field<'t, 'i>,
    problems: &mut Problems,
    read: fn(&Field<'t, 'i>, &mut Problems) -> Option<&'t str>,
) -> Option<Vec<String>> {
    let elements = field.list(problems)?;
    Some(elements.iter().filter_map(|e| read(e, problems)).map(str::to_owned).collect())
}

/// Exactly one of `S`, `S_file` and `S_env`. Messages never repeat what was given.
fn secret(key: &'static Key, table: &mut Table<'_, '_>, problems: &mut Problems) -> Option<Secret> {
    let (file_key, env_key) = (format!("{}_file", key.name), format!("{}_env", key.name));
    let given = table.field(key.name, key.example);
    let file = table.field(&file_key, "\"/etc/waxseal/secret\"");
    let env = table.field(&env_key, "\"WAXSEAL_SECRET\"");
    let all = [given.as_ref(), file.as_ref(), env.as_ref()];
    if let [Some(_), Some(second), ..] = all.into_iter().filter(Option::is_some).collect::<Vec<_>>()[..] {
        let message = format!("`{}` is given more than once", key.name);
        let ways = [key.name, file_key.as_str(), env_key.as_str()];
        problems.add(second.span(), message, format!("keep one of {}", list(&ways)));
    }
    let given = given.and_then(|field| {
        let text = field.line(problems)?;
        Some(Secret::Given(SecretText::new(text.to_owned())))
    });
    let file = file.and_then(|field| absolute(&field, problems).map(|path| Secret::File(path.to_owned())));
    let env = env.and_then(|field| {
        let name = field.string(problems)?;
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if name.is_empty() || !plain || name.starts_with(|c: char| c.is_ascii_digit()) {
            return field.bad("it must be the name of an environment variable", problems);
        }
        Some(Secret::Env(name.to_owned()))
    });
    given.or(file).or(env)
}

fn command(field: &Field<'_, '_>, problems: &mut Problems) -> Option<Vec<String>> {
    let words = each(field, problems, Field::string)?;
    if words.iter().any(|word| word.contains('\0')) {
        return field.bad("an argument holds a NUL character", problems);
    }
    if !words.first().is_some_and(|program| program.starts_with('/')) {
        return field.bad("it must begin with the absolute path of a program", problems);
    }
    Some(words)
}

fn windows(field: &Field<'_, '_>, problems: &mut Problems) -> Option<Vec<units::Window>> {
    if matches!(field.raw(), DeValue::String(_)) {
        return field.quantity(units::parse_window, problems).map(|window| vec![window]);
    }
    let elements = field.list(problems)?;
    Some(elements.iter().filter_map(|e| e.quantity(units::parse_window, problems)).collect())
}

fn absolute<'t>(field: &Field<'t, '_>, problems: &mut Problems) -> Option<&'t str> {
    let path = field.line(problems)?;
    if path.starts_with('/') { Some(path) } else { field.bad("it must be an absolute path", problems) }
}

fn url(field: &Field<'_, '_>, problems: &mut Problems) -> Option<String> {
    let text = field.line(problems)?;
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return field.bad("it must begin with https:// or http://", problems);
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || text.contains(char::is_whitespace) {
        return field.bad("it has no host, or a blank in it", problems);
    }
    if host.contains('@') {
        return field.bad("a name or password does not belong into an address", problems);
    }
    Some(text.trim_end_matches('/').to_owned())
}

fn syslog_address(field: &Field<'_, '_>, problems: &mut Problems) -> Option<String> {
    let text = field.line(problems)?;
    let network = ["udp://", "tcp://", "tls://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let good = match (network, text.strip_prefix("unix:")) {
        (Some(host), _) => !host.is_empty(),
        (None, Some(path)) => path.starts_with('/'),
        (None, None) => false,
    };
    if good {
        return Some(text.to_owned());
    }
    let message = format!("bad `{}`: `{}` is no address of a syslog receiver", field.key, shown(text));
    problems.add(
        field.span(),
        message,
        "write udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:/PATH",
    );
    None
}

fn listen(field: &Field<'_, '_>, problems: &mut Problems) -> Option<String> {
    let text = field.line(problems)?;
    match text.parse::<std::net::SocketAddr>() {
        Ok(_) => Some(text.to_owned()),
        Err(_) => field.bad("it must be an IP address and a port", problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{KINDS, PUBLISH_KINDS, SECTIONS};

    fn check(keys: &'static [Key]) {
        let settings = defaults(keys);
        for key in keys {
            match key.shape {
                Shape::Table(inner) => check(inner),
                Shape::Secret => assert_eq!(key.default, "", "{}", key.name),
                _ => assert_eq!(settings.0.contains_key(key.name), !key.default.is_empty(), "{}", key.name),
            }
            if !matches!(key.shape, Shape::Secret) {
                let example = DeValue::parse(key.example).unwrap();
                let mut problems = Problems::default();
                assert!(value(key, &Field::new(key.name, key.example, &example), &mut problems).is_some());
                assert!(problems.is_empty(), "the example of {}", key.name);
            }
        }
    }

    #[test]
    fn every_default_and_every_example_is_right() {
        SECTIONS.iter().for_each(|(_, keys, _)| check(keys));
        KINDS.iter().for_each(|(_, keys)| check(keys));
        PUBLISH_KINDS.iter().for_each(|(_, keys)| check(keys));
    }
}
