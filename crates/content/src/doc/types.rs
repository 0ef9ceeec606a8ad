//! The types of a document: roots and nested ones, with the first item of each list and the values of each attribute.

use std::collections::HashMap;

use super::block::NONE;

/// A type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    /// The block that holds it; [`NONE`] for a root.
    pub(super) item: u32,
    /// Of a root: its name, as index.
    pub(super) name: u32,
    /// The first block of its list.
    pub(super) first: u32,
    /// The newest of its attributes; they form a chain.
    attributes: u32,
}

/// The values of an attribute, a list like that of the type; the last is the present one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute {
    pub(super) first: u32,
    pub(super) last: u32,
    key: u32,
    next: u32,
}

/// All of them, by index.
#[derive(Default)]
pub(super) struct Types<'a> {
    types: Vec<Type>,
    names: Vec<&'a str>,
    name_indices: HashMap<&'a str, u32>,
    /// By the index of their names.
    roots: HashMap<u32, u32>,
    attributes: Vec<Attribute>,
    attribute_indices: HashMap<(u32, u32), u32>,
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
        let types = &mut self.types;
        *self.roots.entry(name).or_insert_with(|| push_type(types, NONE, name))
    }

    /// The root with this name, if it was mentioned.
    pub(super) fn find_root(&self, name: &str) -> Option<u32> {
        self.roots.get(self.name_indices.get(name)?).copied()
    }

    /// The root that was mentioned first.
    pub(super) fn first_root(&self) -> Option<&'a str> {
        self.types.iter().find(|of| of.item == NONE).map(|root| self.name(root.name))
    }

    /// A new type that `item` holds.
    pub(super) fn nested(&mut self, item: u32) -> u32 {
        push_type(&mut self.types, item, NONE)
    }

    pub(super) fn get(&self, index: u32) -> &Type {
        &self.types[index as usize]
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut Type {
        &mut self.types[index as usize]
    }

    /// The values that `key` of a type has and had.
    pub(super) fn attribute(&self, of: u32, key: u32) -> Option<&Attribute> {
        self.attribute_indices.get(&(of, key)).map(|&index| &self.attributes[index as usize])
    }

    /// The same, made if it is not there.
    pub(super) fn attribute_mut(&mut self, of: u32, key: u32) -> &mut Attribute {
        let (attributes, types) = (&mut self.attributes, &mut self.types);
        let index = *self.attribute_indices.entry((of, key)).or_insert_with(|| {
            let index = attributes.len() as u32;
            attributes.push(Attribute { first: NONE, last: NONE, key, next: types[of as usize].attributes });
            types[of as usize].attributes = index;
            index
        });
        &mut self.attributes[index as usize]
    }

    /// The keys of a type and the present value of each, in the order in which they were set first.
    pub(super) fn keys(&self, of: u32) -> Vec<(&'a str, u32)> {
        let mut keys: Vec<_> = self.attributes(of).map(|attribute| (self.name(attribute.key), attribute.last)).collect();
        keys.reverse();
        keys
    }

    /// The first value of each attribute of a type.
    pub(super) fn attributes(&self, of: u32) -> impl Iterator<Item = &Attribute> {
        let at = |index: u32| self.attributes.get(index as usize);
        std::iter::successors(at(self.get(of).attributes), move |attribute| at(attribute.next))
    }
}

fn push_type(types: &mut Vec<Type>, item: u32, name: u32) -> u32 {
    types.push(Type { item, name, first: NONE, attributes: NONE });
    types.len() as u32 - 1
}
