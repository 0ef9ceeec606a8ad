//! The types of a document, roots and nested ones, and the lists that items stand in: that of each type, and one for the values of
//! each attribute.

use std::collections::HashMap;

use super::block::{NONE, Ref};

/// Of what stands in [`super::block::Block::list`], from here on: an item that holds the type is named, and maybe a key.
const NAMED: u32 = 1 << 31;

/// A type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    /// The block that holds it; [`NONE`] for a root.
    pub(super) item: u32,
    /// Of a root: its name, as index.
    pub(super) name: u32,
    /// Its list.
    pub(super) list: u32,
    /// The newest of its attributes; they form a chain.
    attributes: u32,
}

/// Where items stand one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) first: u32,
    /// Of an attribute: its present value.
    pub(super) last: u32,
    /// The type.
    pub(super) parent: u32,
    /// The attribute; [`NONE`] for the list of the type itself.
    pub(super) key: u32,
    next: u32,
}

/// All of them, by index.
#[derive(Default)]
pub(super) struct Types<'a> {
    types: Vec<Type>,
    /// Those that blocks hold, in the order of the blocks.
    nested: Vec<u32>,
    lists: Vec<List>,
    names: Vec<&'a str>,
    name_indices: HashMap<&'a str, u32>,
    /// By the index of their names.
    roots: HashMap<u32, u32>,
    attribute_indices: HashMap<(u32, u32), u32>,
    /// Parents that are items: which, and the key.
    named: Vec<(Ref, u32)>,
}

impl<'a> Types<'a> {
    /// The index of a root's name or an attribute's key.
    pub(super) fn intern(&mut self, name: &'a str) -> u32 {
        let next = self.names.len() as u32;
        let names = &mut self.names;
        *self.name_indices.entry(name).or_insert_with(|| {
            names.push(name);
            next
        })
    }

    /// The name or key with this index.
    pub(super) fn name(&self, index: u32) -> &'a str {
        self.names.get(index as usize).copied().unwrap_or_default()
    }

    /// The root with this name.
    pub(super) fn root(&mut self, name: &'a str) -> u32 {
        let name = self.intern(name);
        if let Some(&root) = self.roots.get(&name) {
            return root;
        }
        let root = self.push_type(NONE, name);
        self.roots.insert(name, root);
        root
    }

    /// The root with this name, if it was mentioned.
    pub(super) fn find_root(&self, name: &str) -> Option<u32> {
        self.roots.get(self.name_indices.get(name)?).copied()
    }

    /// Every root that was mentioned, with its name.
    pub(super) fn all_roots(&self) -> impl Iterator<Item = (&'a str, u32)> {
        self.roots.iter().map(|(&name, &root)| (self.name(name), root))
    }

    /// How many types there are.
    pub(super) fn count(&self) -> u32 {
        self.types.len() as u32
    }

    /// The root that was mentioned first.
    pub(super) fn first_root(&self) -> Option<&'a str> {
        self.types.iter().find(|of| of.item == NONE).map(|root| self.name(root.name))
    }

    /// A new type that `item` holds, a block behind all others that hold one.
    pub(super) fn nested(&mut self, item: u32) {
        let index = self.push_type(item, NONE);
        self.nested.push(index);
    }

    /// The type that a block holds; [`NONE`] if it holds none.
    pub(super) fn held_by(&self, item: u32) -> u32 {
        let found = self.nested.binary_search_by_key(&item, |&index| self.types[index as usize].item);
        found.map_or(NONE, |at| self.nested[at])
    }

    fn push_type(&mut self, item: u32, name: u32) -> u32 {
        let index = self.types.len() as u32;
        let list = self.push_list(index, NONE, NONE);
        self.types.push(Type { item, name, list, attributes: NONE });
        index
    }

    fn push_list(&mut self, parent: u32, key: u32, next: u32) -> u32 {
        self.lists.push(List { first: NONE, last: NONE, parent, key, next });
        self.lists.len() as u32 - 1
    }

    pub(super) fn get(&self, index: u32) -> &Type {
        &self.types[index as usize]
    }

    pub(super) fn list(&self, index: u32) -> &List {
        &self.lists[index as usize]
    }

    pub(super) fn list_mut(&mut self, index: u32) -> &mut List {
        &mut self.lists[index as usize]
    }

    /// The block that holds the type that a list belongs to; [`NONE`] for a root.
    pub(super) fn holder(&self, list: u32) -> u32 {
        self.get(self.list(list).parent).item
    }

    /// The list of a type, or of the values of one of its attributes, made if it is not there.
    pub(super) fn list_of(&mut self, of: u32, key: u32) -> u32 {
        if key == NONE {
            return self.get(of).list;
        }
        if let Some(&list) = self.attribute_indices.get(&(of, key)) {
            return list;
        }
        let list = self.push_list(of, key, self.get(of).attributes);
        self.types[of as usize].attributes = list;
        self.attribute_indices.insert((of, key), list);
        list
    }

    /// What stands for a list of which only the item is known that holds its type.
    pub(super) fn name_holder(&mut self, holder: Ref, key: u32) -> u32 {
        self.named.push((holder, key));
        // Each takes more than two of less than 2^32 bytes.
        NAMED + (self.named.len() as u32 - 1)
    }

    /// The item that holds the type, and the key, if that is what is known of a list.
    pub(super) fn named_holder(&self, list: u32) -> Option<(Ref, u32)> {
        self.named.get(list.checked_sub(NAMED)? as usize).copied()
    }

    /// The keys of a type and the present value of each, in the order in which they were set first.
    pub(super) fn keys(&self, of: u32) -> Vec<(&'a str, u32)> {
        let mut keys: Vec<_> = self.attributes(of).map(|list| (self.name(list.key), list.last)).collect();
        keys.reverse();
        keys
    }

    /// The first item of the list of a type, and of the values of each of its attributes.
    pub(super) fn firsts(&self, of: u32) -> Vec<u32> {
        std::iter::once(self.list(self.get(of).list)).chain(self.attributes(of)).map(|list| list.first).collect()
    }

    fn attributes(&self, of: u32) -> impl Iterator<Item = &List> {
        let at = |index: u32| self.lists.get(index as usize);
        std::iter::successors(at(self.get(of).attributes), move |list| at(list.next))
    }
}
