//! Where values come from: file, environment, flags; each source is checked by itself, so that an error can name it.

use std::{
    ffi::OsString,
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::{Format, Toml},
    value::{Dict, Map, Value},
};

use super::{
    Config, Role, SCHEMA,
    error::{ConfigError, Problem, nearest},
    section::{Field, Kind, full_key},
};

/// What every variable of the environment that sets a key begins with.
const PREFIX: &str = "YHUB__";
/// Names the configuration file.
const FILE_VARIABLE: &str = "YHUB_CONFIG";
/// Read if nobody names a file and it exists.
const FILE_HERE: &str = "yhub.toml";

/// What the command line sets.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--role`: takes the place of `role`.
    pub role: Option<Role>,
    /// `--listen`: takes the place of `server.listen`.
    pub listen: Option<SocketAddr>,
    /// `--data-dir`: takes the place of `data_dir`.
    pub data_dir: Option<PathBuf>,
}

/// Everything outside the code that has a say in the configuration.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file, which must exist.
    pub file: Option<PathBuf>,
    /// The variables of the environment that begin with `YHUB__`, with their values.
    pub environment: Vec<(String, String)>,
    /// The command line.
    pub flags: Flags,
}

impl fmt::Debug for Sources {
    /// The environment by its names: its values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        let Self { file, flags, .. } = self;
        f.debug_struct("Sources").field("file", file).field("environment", &names).field("flags", flags).finish()
    }
}

/// A valid configuration that remembers where its values came from.
pub struct Loaded {
    /// The values.
    pub config: Config,
    figment: Figment,
}

impl fmt::Debug for Loaded {
    /// Without the values as they were read: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Loaded {
    /// Where the value of a key came from ("file yhub.toml"), or `None` if it is the default.
    pub fn origin(&self, key: &str) -> Option<String> {
        origin(&self.figment, key)
    }
}

fn origin(figment: &Figment, key: &str) -> Option<String> {
    figment.find_metadata(key).map(|metadata| metadata.name.clone().into_owned())
}

impl Sources {
    /// Those of this process; see [`Config::load`].
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] if a variable that sets a key is not text.
    pub fn of_process(file: Option<&Path>, flags: Flags) -> Result<Self, ConfigError> {
        let here = || Some(PathBuf::from(FILE_HERE)).filter(|path| path.exists());
        let named = || std::env::var_os(FILE_VARIABLE).map(PathBuf::from);
        let file = file.map(Path::to_owned).or_else(named).or_else(here);
        Ok(Self { file, environment: texts(std::env::vars_os())?, flags })
    }

    /// Reads, merges and checks everything.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut layers = Vec::new();
        if let Some(path) = &self.file {
            layers.push(read_file(path)?);
        }
        layers.extend(self.environment.iter().map(|(name, text)| variable(name, text)));
        layers.extend(flags(&self.flags));

        let problems: Vec<Problem> = layers.iter().flat_map(Layer::problems).collect();
        if !problems.is_empty() {
            return Err(ConfigError::Invalid(problems));
        }
        let figment = layers.into_iter().fold(Figment::new(), Figment::merge);
        let config: Config =
            figment.extract().map_err(|error| ConfigError::Invalid(error.into_iter().map(unforeseen).collect()))?;
        let with_origin = |problem: Problem| match origin(&figment, problem.key()) {
            Some(origin) => problem.from(origin),
            None => problem,
        };
        let problems: Vec<Problem> = config.problems().into_iter().map(with_origin).collect();
        if problems.is_empty() { Ok(Loaded { config, figment }) } else { Err(ConfigError::Invalid(problems)) }
    }
}

/// Each layer was checked key by key; what still fails is said as the reader puts it.
fn unforeseen(error: figment::Error) -> Problem {
    Problem::new(error.path.join("."), format!("cannot be used: {}", error.kind), "see `yhub config default` for what can be set")
}

/// The variables that set keys, as text.
fn texts(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, ConfigError> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (name, value) in variables {
        if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => found.push((name, value)),
            (name, _) => {
                let name = name.unwrap_or_else(|name| name.to_string_lossy().into_owned());
                problems.push(Problem::new(name, "is not UTF-8 text in the environment", "set it to text, or remove it"));
            }
        }
    }
    found.sort();
    if problems.is_empty() { Ok(found) } else { Err(ConfigError::Invalid(problems)) }
}

/// What one source sets. One layer per variable and per flag, so that each value knows exactly where it came from.
struct Layer {
    origin: String,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

impl Layer {
    fn of_key(origin: String, path: &[&str], value: Value) -> Self {
        let (last, sections) = path.split_last().expect("a key has at least one part: `split` yields one");
        let innermost = Dict::from([((*last).to_owned(), value)]);
        let values = sections.iter().rev().fold(innermost, |inner, section| Dict::from([((*section).to_owned(), inner.into())]));
        Self { origin, values }
    }

    /// Unknown keys and values of the wrong type, all of them.
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, value) in &self.values {
            let section = SCHEMA.iter().find(|section| !section.key.is_empty() && section.key == name);
            match (section, value) {
                (Some(section), Value::Dict(_, keys)) => {
                    for (name, value) in keys {
                        problems.extend(problem(full_key(section.key, name), find(section.key, name), value));
                    }
                }
                (Some(_), _) => problems.push(Problem::new(name, "is a table of keys", "set one of the keys in it")),
                (None, Value::Dict(_, keys)) if !keys.is_empty() => {
                    problems.extend(keys.keys().map(|key| unknown(&full_key(name, key))));
                }
                (None, _) => problems.extend(problem(name.clone(), find("", name), value)),
            }
        }
        problems.into_iter().map(|problem| problem.from(self.origin.as_str())).collect()
    }
}

fn find(section: &str, name: &str) -> Option<&'static Field> {
    SCHEMA.iter().find(|info| info.key == section)?.fields.iter().find(|field| field.name == name)
}

fn problem(key: String, field: Option<&Field>, value: &Value) -> Option<Problem> {
    match field {
        None => Some(unknown(&key)),
        Some(field) if (field.fits)(value) => None,
        Some(field) if field.is_secret => Some(Problem::new(key, "is no text", format!("expected is {}", field.expects))),
        Some(field) => Some(Problem::new(key, format!("is {}", shown(value)), format!("expected is {}", field.expects))),
    }
}

fn unknown(key: &str) -> Problem {
    let section = key.split('.').next().unwrap_or_default();
    let known = || SCHEMA.iter().flat_map(|info| info.fields.iter().map(|field| full_key(info.key, field.name)));
    let all: Vec<String> = known().collect();
    let advice = match (nearest(key, all.iter().map(String::as_str)), SCHEMA.iter().find(|info| info.key == section)) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(info)) if !section.is_empty() => {
            format!("known in `{section}` are {}", info.fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", "))
        }
        (None, _) => format!(
            "known are role, data_dir and the sections {}",
            SCHEMA.iter().map(|info| info.key).filter(|key| !key.is_empty()).collect::<Vec<_>>().join(", ")
        ),
    };
    Problem::new(key, "is no key of the configuration", advice)
}

/// A value for an error text: short, on one line.
fn shown(value: &Value) -> String {
    const MOST_CHARS: usize = 80;
    let text = match value {
        Value::String(_, text) if text.chars().count() > MOST_CHARS => {
            return format!("{:?} and more", text.chars().take(MOST_CHARS).collect::<String>());
        }
        Value::String(_, text) => format!("{text:?}"),
        Value::Array(..) => "a list that holds something else".to_owned(),
        Value::Dict(..) => "a table".to_owned(),
        other => other.to_actual().to_string(),
    };
    text.replace('`', "")
}

fn read_file(path: &Path) -> Result<Layer, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let values = Toml::from_str::<Dict>(&text).map_err(|error| {
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        ConfigError::Syntax {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: error.message().lines().collect::<Vec<_>>().join(", "),
        }
    })?;
    Ok(Layer { origin: format!("file {}", path.display()), values })
}

fn variable(name: &str, text: &str) -> Layer {
    let key = name.strip_prefix(PREFIX).unwrap_or(name).to_lowercase();
    let path: Vec<&str> = key.split("__").collect();
    let field = match path.as_slice() {
        [name] => find("", name),
        [section, name] => find(section, name),
        _ => None,
    };
    let parsed = || text.parse::<Value>().unwrap_or_else(|never| match never {});
    let value = match field.map(|field| field.kind) {
        Some(Kind::Text) => Value::from(text),
        Some(Kind::List) if !text.trim_start().starts_with('[') => {
            Value::from(text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect::<Vec<_>>())
        }
        Some(Kind::List | Kind::Plain) => parsed(),
        None => Value::from(text),
    };
    Layer::of_key(format!("environment variable {name}"), &path, value)
}

fn flags(flags: &Flags) -> Vec<Layer> {
    let Flags { role, listen, data_dir } = flags;
    let role = role.map(|role| Layer::of_key("flag --role".into(), &["role"], role.to_string().into()));
    let listen = listen.map(|listen| Layer::of_key("flag --listen".into(), &["server", "listen"], listen.to_string().into()));
    let data_dir = data_dir.as_ref().map(|path| {
        let path = path.to_string_lossy().into_owned();
        Layer::of_key("flag --data-dir".into(), &["data_dir"], path.into())
    });
    role.into_iter().chain(listen).chain(data_dir).collect()
}
