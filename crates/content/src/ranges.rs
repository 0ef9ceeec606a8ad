//! Ranges of the clocks of one client, and how lists of them meet.
//!
//! A list in *normal form* is ascending, and its ranges neither overlap nor touch. Algorithms here are linear in the
//! list that is kept and logarithmic in what they can jump over in the other, so that a small update is quickly compared
//! with a large document.

/// A run of clocks of one client: `clock .. clock + len`, never empty. Its end is at most 2^32-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdRange {
    start: u32,
    end: u32,
}

impl IdRange {
    /// `len` clocks from `clock`; `None` if there are none or the last is above 2^32-2.
    pub const fn new(clock: u32, len: u32) -> Option<Self> {
        match clock.checked_add(len) {
            Some(end) => Self::between(clock, end),
            None => None,
        }
    }

    /// The clocks from `start` up to and without `end`; `None` if there are none.
    pub const fn between(start: u32, end: u32) -> Option<Self> {
        if start < end { Some(Self { start, end }) } else { None }
    }

    /// The first clock.
    pub const fn clock(self) -> u32 {
        self.start
    }

    /// How many clocks; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u32 {
        self.end - self.start
    }

    /// The first clock after it.
    pub const fn end(self) -> u32 {
        self.end
    }

    /// Is `clock` in it?
    pub const fn contains(self, clock: u32) -> bool {
        self.start <= clock && clock < self.end
    }
}

/// What covers a run of clocks: a range, with or without attributes.
pub trait Span {
    /// The clocks.
    fn range(&self) -> IdRange;
}

impl Span for IdRange {
    fn range(&self) -> IdRange {
        *self
    }
}

/// What holds ids: an [`crate::IdSet`] or an [`crate::IdMap`]. Most operations take either on their right side.
pub trait Ids {
    /// What covers the clocks of a client.
    type Range: Span;

    /// What covers the clocks of `client`: ascending, without overlap; empty for a client that has none.
    fn ranges(&self, client: u64) -> &[Self::Range];
}

/// The ranges of one client in normal form. Most clients have one range: it needs no allocation.
#[derive(Clone, Debug)]
pub(crate) enum Ranges {
    One(IdRange),
    Many(Vec<IdRange>),
}

impl Ranges {
    pub(crate) fn as_slice(&self) -> &[IdRange] {
        match self {
            Self::One(range) => std::slice::from_ref(range),
            Self::Many(ranges) => ranges,
        }
    }

    /// `ranges` in normal form; `None` if there are none.
    pub(crate) fn normalised(mut ranges: Vec<IdRange>) -> Option<Self> {
        // Stable, because that sort finds ascending runs: several lists in normal form are merged in linear time.
        ranges.sort_by_key(|range| range.start);
        ranges.dedup_by(|next, kept| {
            let joined = next.start <= kept.end;
            if joined {
                kept.end = kept.end.max(next.end);
            }
            joined
        });
        Self::from_normal_form(ranges)
    }

    /// `ranges`, which are in normal form; `None` if there are none.
    pub(crate) fn from_normal_form(mut ranges: Vec<IdRange>) -> Option<Self> {
        debug_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        match ranges[..] {
            [] => None,
            [range] => Some(Self::One(range)),
            _ => {
                if ranges.len() < ranges.capacity() / 2 {
                    ranges.shrink_to_fit();
                }
                Some(Self::Many(ranges))
            }
        }
    }

    /// Adds `range`. At the end of the list this takes constant time, elsewhere the ranges behind it move.
    pub(crate) fn insert(&mut self, range: IdRange) {
        let last = match self {
            Self::One(last) => last,
            Self::Many(ranges) => match ranges.last_mut() {
                Some(last) => last,
                None => return ranges.push(range),
            },
        };
        if range.start > last.end {
            match self {
                Self::One(first) => *self = Self::Many(vec![*first, range]),
                Self::Many(ranges) => ranges.push(range),
            }
        } else if range.start >= last.start {
            last.end = last.end.max(range.end);
        } else {
            self.insert_within(range);
        }
    }

    /// Adds `range`, which begins before the last one does.
    fn insert_within(&mut self, range: IdRange) {
        let ranges = match self {
            Self::One(only) if range.end >= only.start => {
                *only = IdRange { start: range.start, end: range.end.max(only.end) };
                return;
            }
            Self::One(only) => {
                *self = Self::Many(vec![range, *only]);
                return;
            }
            Self::Many(ranges) => ranges,
        };
        // All that overlap or touch become one.
        let from = ranges.partition_point(|r| r.end < range.start);
        let to = ranges.partition_point(|r| r.start <= range.end);
        if from == to {
            ranges.insert(from, range);
        } else {
            ranges[from] = IdRange { start: ranges[from].start.min(range.start), end: ranges[to - 1].end.max(range.end) };
            ranges.drain(from + 1..to);
        }
    }

    /// Adds all of `others`, which are in normal form.
    pub(crate) fn insert_all(&mut self, others: &[IdRange]) {
        /// Up to so many, moving what lies behind each is quicker than writing the whole list anew.
        const FEW: usize = 4;
        let last = self.as_slice().last().map_or(0, |last| last.start);
        if others.len() <= FEW || others[0].start >= last {
            for &other in others {
                self.insert(other);
            }
            return;
        }
        let mut all = Vec::with_capacity(self.as_slice().len() + others.len());
        all.extend_from_slice(self.as_slice());
        all.extend_from_slice(others);
        if let Some(union) = Self::normalised(all) {
            *self = union;
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Many(ranges) => ranges.capacity() * size_of::<IdRange>(),
        }
    }
}

impl PartialEq for Ranges {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Ranges {}

/// The index of the first of `spans` from `from` on that ends after `clock`. Quick if it is near.
fn first_ending_after<S: Span>(spans: &[S], from: usize, clock: u32) -> usize {
    let before = |span: &S| span.range().end <= clock;
    let mut step = 1;
    let mut low = from;
    // Doubling steps find a window that holds the answer, halving finds it there.
    while spans.get(low + step - 1).is_some_and(before) {
        low += step;
        step *= 2;
    }
    let high = (low + step - 1).min(spans.len());
    low + spans.get(low..high).map_or(0, |window| window.partition_point(before))
}

/// Calls `keep` with each part of `kept` that no range of `cut` covers, in order.
pub(crate) fn outside<A: Span, B: Span>(kept: &[A], cut: &[B], mut keep: impl FnMut(&A, IdRange)) {
    let mut at = 0;
    for span in kept {
        let IdRange { mut start, end } = span.range();
        at = first_ending_after(cut, at, start);
        while start < end {
            let hole = match cut.get(at) {
                Some(hole) if hole.range().start < end => hole.range(),
                _ => IdRange { start: end, end },
            };
            if let Some(part) = IdRange::between(start, hole.start) {
                keep(span, part);
            }
            start = hole.end;
            // One that reaches beyond `span` may also cut the next.
            if hole.end < end {
                at += 1;
            }
        }
    }
}

/// Calls `keep` with each part that a range of `a` shares with one of `b`, in order.
pub(crate) fn overlaps<A: Span, B: Span>(a: &[A], b: &[B], mut keep: impl FnMut(&A, &B, IdRange)) {
    let (mut i, mut j) = (0, 0);
    while let (Some(left), Some(right)) = (a.get(i), b.get(j)) {
        let (l, r) = (left.range(), right.range());
        match IdRange::between(l.start.max(r.start), l.end.min(r.end)) {
            Some(shared) => {
                keep(left, right, shared);
                if l.end <= r.end {
                    i += 1;
                } else {
                    j += 1;
                }
            }
            None if l.end <= r.start => i = first_ending_after(a, i, r.start),
            None => j = first_ending_after(b, j, l.start),
        }
    }
}

/// Do the ranges of `outer` cover all of `inner`? Both are in normal form.
pub(crate) fn covers(outer: &[IdRange], inner: &[IdRange]) -> bool {
    let mut at = 0;
    inner.iter().all(|range| {
        at = first_ending_after(outer, at, range.start);
        outer.get(at).is_some_and(|around| around.start <= range.start && range.end <= around.end)
    })
}

/// Calls `part` with the pieces of `window` from left to right: what covers each, if anything.
pub(crate) fn slice<'a, A: Span>(spans: &'a [A], window: IdRange, mut part: impl FnMut(IdRange, Option<&'a A>)) {
    let mut start = window.start;
    for span in &spans[first_ending_after(spans, 0, start)..] {
        let range = span.range();
        if range.start >= window.end {
            break;
        }
        if let Some(gap) = IdRange::between(start, range.start) {
            part(gap, None);
        }
        if let Some(inside) = IdRange::between(start.max(range.start), window.end.min(range.end)) {
            part(inside, Some(span));
        }
        start = range.end;
    }
    if let Some(gap) = IdRange::between(start, window.end) {
        part(gap, None);
    }
}
