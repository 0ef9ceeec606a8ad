//! How fast updates are merged, looked through, compared, collected and taken back, and what memory that takes: ours beside yrs, and
//! beside yjs 13 in Node, in one run.
//!
//! `cargo bench -p yhub-content --bench updates [-- SIZE...]`, with sizes in KB (100, 4000 and 40000 unless given). Documents, each
//! about of that size as an update: `typing`, small edits of one text by 8 clients; `sheet`, cells of a table that are set again and
//! again; `bulk`, paragraphs. Each time is the best of several runs; memory is the highest that one run held beside its input. Node
//! takes part if `npm ci` was run in `tests/clients`.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod documents;

use std::{
    collections::HashMap,
    fs,
    hint::black_box,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use documents::{Bulk, Edits, Sheet, Typing};
use peak_alloc::PeakAlloc;
use yhub_content::{
    ContentIds, ContentMap, Limits, StateVector, content_ids, diff, forget, gc_merge,
    history::{ActivityQuery, activity},
    inspect_update, intersect, merge, state_vector_of, undo,
};
use yrs::updates::decoder::Decode;
use yrs::{Doc, Options, ReadTxn, Transact, Update};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const SEED: u64 = 1;
/// So many small updates go into a document, and are merged without one.
const FEW: usize = 200;
const MANY: usize = 20_000;

/// What something took.
#[derive(Clone, Copy)]
struct Took {
    time: Duration,
    /// The most that it held at once.
    peak_bytes: usize,
}

/// The fastest of some runs, of which at least one is made.
#[expect(clippy::disallowed_methods, reason = "a benchmark looks at the real clock")]
fn best<T>(mut what: impl FnMut() -> T) -> Took {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let begun = Instant::now();
    let mut time = Duration::MAX;
    let mut peak_bytes = 0;
    for run in 0..7 {
        let start = Instant::now();
        black_box(what());
        time = time.min(start.elapsed());
        if run == 0 {
            peak_bytes = MEMORY.peak_usage().saturating_sub(before);
        }
        if begun.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    Took { time, peak_bytes }
}

/// One document and what is done with it.
struct Case {
    name: String,
    document: Vec<u8>,
    /// Its first half, as a client might know it.
    half: StateVector,
    /// Edits that follow it.
    few: Vec<Vec<u8>>,
    many: Vec<Vec<u8>>,
}

impl Case {
    fn new(name: &str, size_bytes: usize, mut edits: impl Edits) -> Self {
        let mut updates = Vec::new();
        let mut total = 0;
        // An update of its own takes some bytes more than its share of a document.
        while total < size_bytes * 13 / 10 {
            let update = edits.edit();
            total += update.len() - 4;
            updates.push(update);
        }
        let half = state_vector_of(&merge(&updates[..updates.len() / 2]).unwrap()).unwrap();
        let document = merge(&updates).unwrap();
        let few = (0..FEW).map(|_| edits.edit()).collect();
        let many = updates.split_off(updates.len().saturating_sub(MANY));
        let name = format!("{name}, {:.1} MB", document.len() as f64 / 1e6);
        Self { name, document, half, few, many }
    }
}

/// What yjs took in Node for each operation, in milliseconds; empty if it is not installed.
fn node(case: &Case) -> HashMap<String, f64> {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients");
    if !clients.join("node_modules").is_dir() {
        println!("(without yjs: run `npm ci` in tests/clients)");
        return HashMap::new();
    }
    let dir = tempfile::tempdir().unwrap();
    let lengths = |updates: &[Vec<u8>]| {
        updates.iter().flat_map(|update| [&(update.len() as u32).to_le_bytes()[..], update].concat()).collect::<Vec<u8>>()
    };
    fs::write(dir.path().join("document"), &case.document).unwrap();
    fs::write(dir.path().join("half"), case.half.to_bytes()).unwrap();
    fs::write(dir.path().join("few"), lengths(&case.few)).unwrap();
    fs::write(dir.path().join("many"), lengths(&case.many)).unwrap();
    let done = Command::new("node").arg("bench.mjs").arg(dir.path()).current_dir(clients).output().expect("node runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn report(what: &str, size: usize, ours: Took, yrs: Option<Took>, node_ms: Option<&f64>) {
    let millis = |took: Duration| took.as_secs_f64() * 1e3;
    let of_input = |took: Took| took.peak_bytes as f64 / size as f64;
    let speed = size as f64 / 1e6 / ours.time.as_secs_f64();
    print!("{what:<32} {:>9.2} {speed:>8.0} {:>6.1}", millis(ours.time), of_input(ours));
    match yrs {
        Some(yrs) => print!(
            "  {:>9.2} {:>6.1} {:>6.1} x",
            millis(yrs.time),
            of_input(yrs),
            yrs.time.as_secs_f64() / ours.time.as_secs_f64()
        ),
        None => print!("  {:>9} {:>6} {:>8}", "", "", ""),
    }
    match node_ms {
        Some(ms) => println!("  {ms:>9.1} {:>6.1} x", ms / millis(ours.time)),
        None => println!(),
    }
}

fn size(updates: &[impl AsRef<[u8]>]) -> usize {
    updates.iter().map(|update| update.as_ref().len()).sum()
}

fn yrs_gc(updates: &[&[u8]]) -> Vec<u8> {
    let doc = Doc::with_options(Options { skip_gc: false, ..Options::default() });
    {
        let mut txn = doc.transact_mut();
        for update in updates {
            txn.apply_update(Update::decode_v1(update).unwrap()).unwrap();
        }
    }
    let txn = doc.transact();
    txn.encode_state_as_update_v1(&yrs::StateVector::default())
}

/// What yrs has as well.
fn beside_yrs(case: &Case) {
    let node = node(case);
    let Case { document, half, few, many, .. } = case;
    let whole = document.len();
    let mut inputs: Vec<&[u8]> = vec![document];
    inputs.extend(few.iter().map(Vec::as_slice));
    let row = |what: &str, size, ours, yrs| report(what, size, ours, Some(yrs), node.get(what));
    row(
        "state vector",
        whole,
        best(|| state_vector_of(document).unwrap()),
        best(|| yrs::encode_state_vector_from_update_v1(document).unwrap()),
    );
    row(
        "content ids",
        whole,
        best(|| content_ids(document).unwrap()),
        best(|| {
            let update = Update::decode_v1(document).unwrap();
            (update.insertions(true), update.delete_set().clone())
        }),
    );
    row(
        "merge, document + 200 small",
        size(&inputs),
        best(|| merge(&inputs).unwrap()),
        best(|| yrs::merge_updates_v1(inputs.iter().copied()).unwrap()),
    );
    row("merge, 20,000 small", size(many), best(|| merge(many).unwrap()), best(|| yrs::merge_updates_v1(many).unwrap()));
    let yrs_half = half.to_bytes();
    row(
        "difference, half known",
        whole,
        best(|| diff(document, half).unwrap()),
        best(|| yrs::diff_updates_v1(document, &yrs_half).unwrap()),
    );
    row("gc merge", whole, best(|| gc_merge(&[document]).unwrap()), best(|| yrs_gc(&[document])));
    // The figures mean nothing if the results differ.
    let (ours, theirs) = (gc_merge(&[document]).unwrap(), yrs_gc(&[document]));
    assert_eq!(content_ids(&ours).unwrap(), content_ids(&theirs).unwrap());
    let theirs = yrs::merge_updates_v1(inputs.iter().copied()).unwrap();
    assert_eq!(content_ids(&merge(&inputs).unwrap()).unwrap(), content_ids(&theirs).unwrap());
}

/// What only we have.
fn alone(case: &Case) {
    let document = &case.document;
    let whole = document.len();
    let ids = content_ids(document).unwrap();
    // What one of the clients did, and what came in the second half.
    let client = ids.inserts.iter().next().unwrap().0;
    let (mut one, mut late) = (ContentIds::default(), ids.clone());
    for (of, kept) in [(&ids.inserts, &mut one.inserts), (&ids.deletes, &mut one.deletes)] {
        of.iter().filter(|(number, _)| *number == client).for_each(|(number, ranges)| {
            ranges.iter().for_each(|range| kept.insert(number, *range));
        });
    }
    late.inserts = content_ids(&diff(document, &case.half).unwrap()).unwrap().inserts;
    let map = ContentMap::union([
        &ContentMap::attribution(&late, Some("ann"), 2_000_000, &[]),
        &ContentMap::attribution(&ids.difference(&late), Some("bob"), 1_000_000, &[]),
    ]);
    let asked = ActivityQuery { delta: true, ..ActivityQuery::default() };
    let row = |what: &str, ours| report(what, whole, ours, None, None);
    row("guard with content ids", best(|| inspect_update(document, &Limits::default()).unwrap()));
    row("part: one client", best(|| intersect(document, &one).unwrap()));
    row("take back: one client", best(|| undo(document, &one, 1).unwrap()));
    row("forget what is deleted", best(|| forget(document, &ids.deletes).unwrap()));
    row("activity of two, with deltas", best(|| activity(document, &map, &asked).unwrap()));
}

fn main() {
    // Cargo itself passes flags.
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100, 4_000, 40_000] } else { sizes };
    println!("seed {SEED}; memory is the peak beside the input, in multiples of the input");
    for kb in sizes {
        let bytes = kb * 1_000;
        for case in [
            Case::new("typing", bytes, Typing::new(SEED)),
            Case::new("sheet", bytes, Sheet::new(SEED, bytes / 120)),
            Case::new("bulk", bytes, Bulk::new(SEED)),
        ] {
            println!();
            println!(
                "{:<32} {:>9} {:>8} {:>6}  {:>9} {:>6} {:>8}  {:>9} {:>8}",
                case.name, "ms", "MB/s", "memory", "yrs ms", "memory", "ratio", "yjs ms", "ratio"
            );
            beside_yrs(&case);
            alone(&case);
        }
    }
}
