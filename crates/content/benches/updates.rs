//! How fast updates are merged, looked through, compared and collected: ours beside yrs, in one run.
//!
//! The document: 8 clients make small edits to one text (typing, now and then somewhere else, some deletions), each
//! knowing what the others did some time ago; about 4 MB as an update. `cargo bench -p yhub-content --bench updates`.
//! Each figure is the best of several runs, in MB of input per second.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};
use yhub_content::{Limits, StateVector, content_ids, diff, gc_merge, inspect_update, merge, state_vector_of};
use yhub_encoding::write_var_uint;
use yrs::updates::{decoder::Decode, encoder::Encode};
use yrs::{Doc, Options, ReadTxn, Transact, Update};

const CLIENTS: usize = 8;
const EDITS: usize = 236_000;
const SEED: u64 = 1;

/// A text that several clients write at, as ids; enough to make valid updates without a library.
struct Writer {
    rng: StdRng,
    /// Number and next clock of each client, and where it is writing: index into `text`.
    clients: Vec<(u64, u32, usize)>,
    /// All characters, deleted or not, in order.
    text: Vec<(u64, u32)>,
}

impl Writer {
    fn new() -> Self {
        let mut rng = StdRng::seed_from_u64(SEED);
        let clients = (0..CLIENTS).map(|_| (rng.random_range(1 << 28..1u64 << 32), 0, 0)).collect();
        Self { rng, clients, text: Vec::new() }
    }

    /// One small edit, as an update: a few characters somewhere, or the deletion of a few.
    fn edit(&mut self) -> Vec<u8> {
        let which = self.rng.random_range(0..CLIENTS);
        let (client, clock, mut at) = self.clients[which];
        if self.text.is_empty() || self.rng.random_bool(0.15) {
            // Not everywhere: inserting into the middle of the list is what makes generating slow.
            let last = self.text.len();
            at = self.rng.random_range(last.saturating_sub(2_000)..=last);
        }
        at = at.min(self.text.len());
        let mut out = Vec::new();
        if at > 0 && self.rng.random_bool(0.15) {
            let (client, clock) = self.text[at - 1];
            out.extend([0, 1]);
            write_var_uint(&mut out, client);
            out.push(1);
            write_var_uint(&mut out, u64::from(clock));
            out.push(1);
            self.clients[which].2 = at - 1;
            return out;
        }
        let word: String = (0..self.rng.random_range(1..4)).map(|_| self.rng.random_range('a'..='z')).collect();
        out.extend([1, 1]);
        write_var_uint(&mut out, client);
        write_var_uint(&mut out, u64::from(clock));
        let left = at.checked_sub(1).map(|left| self.text[left]);
        let right = self.text.get(at).copied();
        out.push(4 | if left.is_some() { 0x80 } else { 0 } | if right.is_some() { 0x40 } else { 0 });
        for id in [left, right].into_iter().flatten() {
            write_var_uint(&mut out, id.0);
            write_var_uint(&mut out, u64::from(id.1));
        }
        if left.is_none() && right.is_none() {
            out.extend([1, 4]);
            out.extend(b"text");
        }
        out.push(word.len() as u8);
        out.extend(word.as_bytes());
        out.push(0);
        let len = word.len() as u32;
        self.text.splice(at..at, (clock..clock + len).map(|clock| (client, clock)));
        self.clients[which] = (client, clock + len, at + word.len());
        out
    }
}

/// Fastest of some runs.
#[expect(clippy::disallowed_methods, reason = "a benchmark looks at the real clock")]
fn best<T>(runs: usize, mut what: impl FnMut() -> T) -> Duration {
    let once = |what: &mut dyn FnMut() -> T| {
        let start = Instant::now();
        black_box(what());
        start.elapsed()
    };
    (0..runs).map(|_| once(&mut what)).min().unwrap()
}

fn report(what: &str, size: usize, ours: Duration, theirs: Option<Duration>) {
    let speed = |took: Duration| size as f64 / 1e6 / took.as_secs_f64();
    let millis = |took: Duration| took.as_secs_f64() * 1e3;
    print!("{what:<44} {:>8.2} ms {:>8.1} MB/s", millis(ours), speed(ours));
    match theirs {
        Some(theirs) => {
            println!("  {:>9.2} ms {:>7.1} MB/s  {:>6.1} x", millis(theirs), speed(theirs), speed(ours) / speed(theirs))
        }
        None => println!(),
    }
}

fn size(updates: &[Vec<u8>]) -> usize {
    updates.iter().map(Vec::len).sum()
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

fn main() {
    let mut writer = Writer::new();
    let updates: Vec<Vec<u8>> = (0..EDITS).map(|_| writer.edit()).collect();
    let document = merge(&updates).unwrap();
    let half = state_vector_of(&merge(&updates[..EDITS / 2]).unwrap()).unwrap();
    let yrs_half = yrs::StateVector::decode_v1(&half.to_bytes()).unwrap();
    let fresh: Vec<Vec<u8>> = (0..200).map(|_| writer.edit()).collect();
    let structs = inspect_update(&document, &Limits::default()).unwrap().summary.structs;
    println!("seed {SEED}: {EDITS} edits by {CLIENTS} clients, {structs} structs, {:.2} MB", document.len() as f64 / 1e6);
    println!("{:<44} {:>11} {:>13}  {:>12} {:>12}", "", "ours", "", "yrs", "");

    let runs = 7;
    let mut inputs = vec![document.clone()];
    inputs.extend(fresh.iter().cloned());
    report(
        "merge: document + 200 small",
        size(&inputs),
        best(runs, || merge(&inputs).unwrap()),
        Some(best(3, || yrs::merge_updates_v1(&inputs).unwrap())),
    );
    let small = &updates[EDITS - 20_000..];
    report(
        "merge: 20,000 small",
        size(small),
        best(runs, || merge(small).unwrap()),
        Some(best(1, || yrs::merge_updates_v1(small).unwrap())),
    );
    report("merge: all small", size(&updates), best(3, || merge(&updates).unwrap()), None);
    report(
        "content ids",
        document.len(),
        best(runs, || content_ids(&document).unwrap()),
        Some(best(3, || {
            let update = Update::decode_v1(&document).unwrap();
            (update.insertions(true), update.delete_set().clone())
        })),
    );
    report(
        "state vector",
        document.len(),
        best(runs, || state_vector_of(&document).unwrap()),
        Some(best(3, || yrs::encode_state_vector_from_update_v1(&document).unwrap())),
    );
    report(
        "difference, half known",
        document.len(),
        best(runs, || diff(&document, &half).unwrap()),
        Some(best(3, || yrs::diff_updates_v1(&document, &yrs_half.encode_v1()).unwrap())),
    );
    report(
        "difference, nothing known",
        document.len(),
        best(runs, || diff(&document, &StateVector::new()).unwrap()),
        Some(best(3, || yrs::diff_updates_v1(&document, &yrs::StateVector::default().encode_v1()).unwrap())),
    );
    report("guard with content ids", document.len(), best(runs, || inspect_update(&document, &Limits::default()).unwrap()), None);
    report(
        "guard, each of 20,000 small",
        size(small),
        best(runs, || {
            small.iter().map(|update| inspect_update(update, &Limits::default()).unwrap().summary.structs).sum::<usize>()
        }),
        None,
    );
    report(
        "gc merge: document",
        document.len(),
        best(5, || gc_merge(&[&document]).unwrap()),
        Some(best(3, || yrs_gc(&[&document]))),
    );
    let slices: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    report(
        "gc merge: document + 200 small",
        size(&inputs),
        best(5, || gc_merge(&slices).unwrap()),
        Some(best(3, || yrs_gc(&slices))),
    );

    // The figures mean nothing if the results differ.
    let (ours, theirs) = (gc_merge(&[&document]).unwrap(), yrs_gc(&[&document]));
    assert_eq!(content_ids(&ours).unwrap(), content_ids(&theirs).unwrap());
    assert_eq!(ours.len(), theirs.len());
    assert_eq!(content_ids(&merge(&inputs).unwrap()).unwrap(), content_ids(&yrs::merge_updates_v1(&inputs).unwrap()).unwrap());
}
