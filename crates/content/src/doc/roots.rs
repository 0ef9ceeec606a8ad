//! The roots of a document: their names, and what they look like. An update does not say what its roots are; programs know that.

use yhub_encoding::Reader;

use super::{
    Document,
    block::{Block, State},
    integrated,
    render::MAX_DEPTH,
};
use crate::{
    UpdateError,
    update::structs::{DELETED, EMBED, FORMAT, GC, STRING, TYPE},
};

/// What a root looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// Characters.
    Text,
    /// Values one after the other.
    Array,
    /// Values with keys.
    Map,
    /// Nodes, as editors of rich text keep them.
    Xml,
}

/// The roots of a document in the order of their names, and what each looks like: what stands in it decides, of what was deleted only
/// where nothing else does.
///
/// # Errors
/// If `update` is damaged, takes too many steps to be integrated, or nests nodes in one another so deep that a program that follows
/// them by recursion may not come back.
pub fn roots(update: &[u8]) -> Result<Vec<(String, Looks)>, UpdateError> {
    integrated(&[update], &[], |document| {
        document.check_depth()?;
        let roots = document.types.all_roots();
        let mut roots: Vec<_> = roots.map(|(name, root)| (name.to_owned(), document.looks(root))).collect();
        roots.sort_unstable_by(|(name, _), (other, _)| name.cmp(other));
        Ok(roots)
    })
}

impl Document<'_> {
    /// Is every type, also a deleted one, within [`MAX_DEPTH`] others? Without recursion.
    fn check_depth(&self) -> Result<(), UpdateError> {
        let count = self.types.count();
        // How deep each type lies; 0 where that is not known yet.
        let mut depths = vec![0_usize; count as usize];
        for index in 0..count {
            let (mut path, mut at) = (Vec::new(), index);
            let above = loop {
                if let known @ 1.. = depths[at as usize] {
                    break known;
                }
                path.push(at);
                let holder = self.types.get(at).item;
                match self.blocks.get(holder as usize) {
                    // What is not in its place is not reached.
                    Some(block) if block.state == State::Done => at = self.types.list(block.list).parent,
                    _ => break 0,
                }
            };
            for (distance, &of) in path.iter().rev().enumerate() {
                depths[of as usize] = above + distance + 1;
            }
            if depths[index as usize] > MAX_DEPTH {
                let holder = self.blocks.get(self.types.get(index).item as usize);
                return Err(UpdateError::NestedTooDeep { at: holder.map_or(0, |block| block.payload.0 as usize) });
            }
        }
        Ok(())
    }

    fn looks(&self, root: u32) -> Looks {
        let first = self.types.list(self.types.get(root).list).first;
        let blocks = || std::iter::successors(self.blocks.get(first as usize), |block| self.blocks.get(block.right as usize));
        let of =
            |is_deleted: bool| blocks().filter(move |block| block.deleted == is_deleted).find_map(|block| self.looks_of(block));
        let keys = || if self.types.keys(root).is_empty() { None } else { Some(Looks::Map) };
        of(false).or_else(keys).or_else(|| of(true)).unwrap_or(Looks::Map)
    }

    /// What a list looks like that holds this.
    fn looks_of(&self, block: &Block) -> Option<Looks> {
        match block.kind {
            STRING | EMBED | FORMAT => Some(Looks::Text),
            // Elements, hooks and texts of XML; fragments stand in nothing.
            TYPE => Some(match Reader::new(self.payload(block)).var_uint() {
                Ok(3 | 5 | 6) => Looks::Xml,
                _ => Looks::Array,
            }),
            GC | DELETED => None,
            _ => Some(Looks::Array),
        }
    }
}

#[cfg(test)]
mod tests {
    use yhub_encoding::write_var_uint;

    use super::*;

    /// A map in a map in a map …
    fn nest(depth: u64) -> Vec<u8> {
        let mut update = vec![1];
        write_var_uint(&mut update, depth);
        update.extend([1, 0]);
        for at in 0..depth {
            // With a key, a type as content.
            update.push(0x27);
            if at == 0 {
                update.extend([1, 1, b'r']);
            } else {
                update.extend([0, 1]);
                write_var_uint(&mut update, at - 1);
            }
            update.extend([1, b'k', 1]);
        }
        update.push(0);
        update
    }

    #[test]
    fn nesting_is_bounded_and_measured_without_recursion() {
        let deepest = MAX_DEPTH as u64 - 1;
        assert_eq!(roots(&nest(deepest)).unwrap(), [("r".to_owned(), Looks::Map)]);
        for deep in [deepest + 1, 100_000] {
            assert!(matches!(roots(&nest(deep)), Err(UpdateError::NestedTooDeep { .. })), "{deep}");
        }
    }

    #[test]
    fn what_stands_in_a_root_says_what_it_is() {
        let looks = |content: &[u8]| {
            let update = [&[1, 1, 1, 0, content[0], 1, 1, b'r'], &content[1..], &[0]].concat();
            roots(&update).unwrap()[0].1
        };
        assert_eq!(looks(&[4, 1, b'x']), Looks::Text);
        assert_eq!(looks(&[8, 1, 126]), Looks::Array);
        assert_eq!(looks(&[7, 1]), Looks::Array);
        assert_eq!(looks(&[7, 3, 1, b'p']), Looks::Xml);
        assert_eq!(looks(&[7, 6]), Looks::Xml);
        assert_eq!(roots(&[0, 0]).unwrap(), []);
    }
}
