//! `[assets]`, `[files]` and `[asset_cache]`: where the assets of stored versions lie, if not in their rows.

use std::{collections::BTreeSet, path::PathBuf};

use yhub_store::Branches;

use super::{
    Config,
    error::Problem,
    section::{Millis, section},
};

/// What can be named in `assets.plugins`.
const PLUGINS: [&str; 2] = ["s3", "files"];

section! {
    /// Where the assets of stored versions lie. Without plugins they lie in the rows of the document store. What was stored
    /// with a plugin needs it for as long as it is there.
    Assets = "assets" {
        /// The plugins, in the order in which they are offered an asset: "s3" for the section `s3`, "files" for `files`.
        /// What none of them takes stays in its row.
        plugins: Vec<String> = Vec::new();
        /// Assets that no row refers to any more are deleted so much later: somebody may just have read the row.
        delete_delay_ms: Millis = Millis::new(10_000), 0..=3_600_000;
    }
    rules: assets_rules
}

section! {
    /// Assets as files, with "files" in `assets.plugins`.
    Files = "files" {
        /// The directory; created if it is missing. Empty: `assets` in `data_dir`. Where many nodes share the document store
        /// they have to share this directory, too.
        dir: PathBuf = PathBuf::new();
        /// The branches whose assets are taken; ["*"] stands for all.
        branches: Vec<String> = vec!["*".to_owned()];
        /// The most bytes that an asset may have.
        max_asset_bytes: usize = 1 << 30, 1_048_576..=17_179_869_184;
        /// So many files are read and written at once.
        at_once: usize = 8, 1..=1_000;
    }
    rules: files_rules
}

section! {
    /// Assets that were brought lately, kept at hand.
    AssetCache = "asset_cache" {
        /// The plugins whose assets are kept.
        plugins: Vec<String> = vec!["s3".to_owned()];
        /// The branches whose assets are kept; ["*"] stands for all.
        branches: Vec<String> = vec!["main".to_owned()];
        /// So many bytes each node keeps in memory, about; 0 for none. Those used longest ago go first.
        memory_bytes: usize = 64 << 20, 0..=1_099_511_627_776;
        /// Keep them in Redis as well, for all nodes? Its memory must have room for them beside the streams.
        shared: bool = false;
        /// How long an asset is kept.
        ttl_ms: Millis = Millis::new(600_000), 1_000..=86_400_000;
        /// An asset with more bytes is not kept.
        max_asset_bytes: usize = 16 << 20, 1_024..=99_999_999;
    }
    rules: cache_rules
}

impl Assets {
    /// Is this plugin in use?
    pub(crate) fn has(&self, plugin: &str) -> bool {
        self.plugins.iter().any(|name| name == plugin)
    }
}

/// The rooms of a list of branches.
pub(crate) fn branches(names: &[String]) -> Branches {
    match names {
        [all] if all == "*" => Branches::All,
        some => Branches::Only(some.iter().cloned().collect()),
    }
}

/// What is wrong with a list of branches.
pub(super) fn check_branches(key: &str, names: &[String], problems: &mut Vec<Problem>) {
    let all = names.iter().any(|name| name == "*");
    if names.is_empty() || (all && names.len() > 1) {
        let what = if names.is_empty() { "is empty" } else { "names all branches and some of them" };
        problems.push(Problem::new(key, what, "list branches, such as [\"main\"], or write [\"*\"] for all"));
    }
}

fn check_plugins(key: &str, names: &[String], problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !PLUGINS.contains(&name.as_str()) {
            problems.push(Problem::new(key, format!("holds {name:?}"), "choose from \"s3\" and \"files\""));
        } else if !seen.insert(name) {
            problems.push(Problem::new(key, format!("holds {name:?} twice"), "name it once"));
        }
    }
}

fn assets_rules(assets: &Assets, problems: &mut Vec<Problem>) {
    check_plugins("assets.plugins", &assets.plugins, problems);
}

fn files_rules(files: &Files, problems: &mut Vec<Problem>) {
    check_branches("files.branches", &files.branches, problems);
}

fn cache_rules(cache: &AssetCache, problems: &mut Vec<Problem>) {
    check_plugins("asset_cache.plugins", &cache.plugins, problems);
    check_branches("asset_cache.branches", &cache.branches, problems);
}

impl Config {
    /// Where assets lie as files.
    pub(crate) fn files_dir(&self) -> PathBuf {
        if self.files.dir.as_os_str().is_empty() { self.data_dir.join("assets") } else { self.files.dir.clone() }
    }

    /// What does not go together in the choice of places for assets.
    pub(super) fn wrong_assets(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.assets.has("s3") {
            self.s3.check_used(&mut problems);
        }
        if self.assets.has("files") && self.is_distributed() && self.files.dir.as_os_str().is_empty() {
            let what = "is not set, but many nodes share the document store, and `assets.plugins` names \"files\"";
            problems.push(Problem::new("files.dir", what, "name a directory that all nodes share"));
        }
        if self.asset_cache.shared && self.redis.url.is_none() {
            let advice = "set that as well, or leave assets in the memory of the node";
            problems.push(Problem::new("asset_cache.shared", "is true, but `redis.url` is not set", advice));
        }
        problems
    }
}
