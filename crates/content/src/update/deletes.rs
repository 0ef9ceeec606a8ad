//! The delete set of an update: ranges of deleted ids, gathered from anywhere, written in normal form.

use yhub_encoding::write_var_uint;

/// Ranges `(client, start, end)` in any order, until they are put in order for writing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deletes {
    ranges: Vec<(u64, u32, u32)>,
}

impl Deletes {
    #[inline]
    pub(crate) fn push(&mut self, client: u64, start: u32, end: u32) {
        // Most ranges go on where the last one ended.
        if let Some(last) = self.ranges.last_mut()
            && last.0 == client
            && last.2 == start
        {
            last.2 = end;
            return;
        }
        self.ranges.push((client, start, end));
    }

    /// Puts clients in descending and ranges in ascending order and joins what overlaps or touches.
    pub(crate) fn normalise(&mut self) {
        let before = |a: &(u64, u32, u32), b: &(u64, u32, u32)| b.0.cmp(&a.0).then(a.1.cmp(&b.1));
        let normal =
            self.ranges.windows(2).all(|pair| pair[0].0 > pair[1].0 || (pair[0].0 == pair[1].0 && pair[0].2 < pair[1].1));
        if normal {
            return;
        }
        self.ranges.sort_unstable_by(before);
        self.ranges.dedup_by(|next, kept| {
            let joins = kept.0 == next.0 && next.1 <= kept.2;
            if joins {
                kept.2 = kept.2.max(next.2);
            }
            joins
        });
    }

    /// The ranges as they are: after [`Deletes::normalise`] in normal form.
    pub(crate) fn ranges(&self) -> &[(u64, u32, u32)] {
        &self.ranges
    }

    /// Appends the set in V1 coding, in normal form.
    pub(crate) fn write(mut self, out: &mut Vec<u8>) {
        self.normalise();
        write_ranges(out, &self.ranges);
    }
}

/// Appends ranges that are in normal form (clients descending) in V1 coding.
pub(crate) fn write_ranges(out: &mut Vec<u8>, ranges: &[(u64, u32, u32)]) {
    let clients = ranges.chunk_by(|a, b| a.0 == b.0);
    write_var_uint(out, clients.clone().count() as u64);
    for of_client in clients {
        write_var_uint(out, of_client[0].0);
        write_var_uint(out, of_client.len() as u64);
        for (_, start, end) in of_client {
            write_var_uint(out, u64::from(*start));
            write_var_uint(out, u64::from(end - start));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_goes_in_comes_out_in_normal_form() {
        let mut deletes = Deletes::default();
        for (client, start, end) in [(1, 5, 6), (2, 0, 3), (1, 0, 2), (1, 1, 4), (1, 4, 5), (2, 9, 10), (1, 0, 1)] {
            deletes.push(client, start, end);
        }
        let mut out = Vec::new();
        deletes.write(&mut out);
        assert_eq!(out, [2, 2, 2, 0, 3, 9, 1, 1, 1, 0, 6]);
    }
}
