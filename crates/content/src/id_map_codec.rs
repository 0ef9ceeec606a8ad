//! The bytes of maps of attributes.
//!
//! Layout: number of clients; per client ascending the distance from the client before and the number of ranges; per
//! range clock and length as in [`crate::IdSet::encode`], the number of attributes and the id of each. Ids count up in
//! order of first use; with a new one stand the id of its name, the name if that is new too, and the value (`any`).

use std::{collections::HashMap, sync::Arc};

use yhub_encoding::{Any, DecodeError, MAX_ANY_DEPTH, MAX_UINT, Reader, write_var_string, write_var_uint};

use crate::{
    ContentAttribute, IdMap,
    attribute::AttributeName,
    id_map::{ListId, MapRange, Tables},
    id_map_merge::joins,
    id_set::read_range,
};

impl IdMap {
    /// Appends it. The bytes are those of the JavaScript implementation.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut ids = WrittenIds::new(&self.tables.attributes);
        write_var_uint(out, self.clients.len() as u64);
        let mut client_before = 0;
        for (&client, ranges) in &self.clients {
            write_var_uint(out, client - client_before);
            client_before = client;
            write_var_uint(out, ranges.len() as u64);
            let mut end_before = 0;
            for &MapRange { range, list } in ranges {
                write_var_uint(out, u64::from(range.clock() - end_before));
                write_var_uint(out, u64::from(range.len() - 1));
                end_before = range.end();
                let list = self.tables.list(list);
                write_var_uint(out, list.len() as u64);
                for &at in list {
                    ids.write(out, at);
                }
            }
        }
    }

    /// What [`IdMap::encode`] appends.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Reads what [`IdMap::encode`] wrote. Of a client that stands twice the later entry counts, as in JavaScript.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut tables = ReadTables::default();
        let mut clients = std::collections::BTreeMap::new();
        let mut client = 0;
        for _ in 0..reader.count(2)? {
            let at = reader.position();
            client += reader.var_uint()?;
            if client > MAX_UINT {
                return Err(DecodeError::IntegerRange { at });
            }
            // Clock, length and number of attributes take a byte each.
            let count = reader.count(3)?;
            let mut ranges: Vec<MapRange> = Vec::with_capacity(count);
            let mut end_before = 0;
            for _ in 0..count {
                let range = read_range(reader, end_before)?;
                end_before = range.end();
                let next = MapRange { range, list: tables.list(reader)? };
                if !ranges.last_mut().is_some_and(|last| joins(&tables.tables, last, &next)) {
                    ranges.push(next);
                }
            }
            if !ranges.is_empty() {
                clients.insert(client, ranges);
            }
        }
        Ok(Self { tables: Arc::new(tables.tables), clients })
    }

    /// Reads the map that `bytes` begin with; what follows it is ignored.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::new(bytes))
    }
}

/// The attributes and names that have been read.
#[derive(Default)]
struct ReadTables {
    tables: Tables,
    names: Vec<AttributeName>,
}

impl ReadTables {
    /// Reads the attributes of one range.
    fn list(&mut self, reader: &mut Reader<'_>) -> Result<ListId, DecodeError> {
        for _ in 0..reader.count(1)? {
            let id = read_id(reader, self.tables.attributes.len())?;
            if id as usize == self.tables.attributes.len() {
                let attribute = self.attribute(reader)?;
                self.tables.attributes.push(attribute);
            }
            self.tables.items.push(id);
        }
        Ok(self.tables.close_list())
    }

    /// Reads an attribute that has not been read before.
    fn attribute(&mut self, reader: &mut Reader<'_>) -> Result<ContentAttribute, DecodeError> {
        let id = read_id(reader, self.names.len())? as usize;
        if id == self.names.len() {
            self.names.push(reader.var_string()?.into());
        }
        Ok(ContentAttribute { name: self.names[id].clone(), value: Any::decode(reader, MAX_ANY_DEPTH)? })
    }
}

/// Reads an id that is one of the `known` first ones or the next.
fn read_id(reader: &mut Reader<'_>, known: usize) -> Result<u32, DecodeError> {
    let at = reader.position();
    let id = reader.var_uint()?;
    match u32::try_from(id) {
        Ok(small) if id <= known as u64 => Ok(small),
        _ => Err(DecodeError::Invalid { at, what: "an attribute or a name is used before it is given" }),
    }
}

/// The ids that attributes and names have got in what was written so far.
struct WrittenIds<'a> {
    attributes: &'a [ContentAttribute],
    /// By place in `attributes`.
    ids: Vec<Option<u32>>,
    next: u32,
    names: NameIds<'a>,
}

impl<'a> WrittenIds<'a> {
    fn new(attributes: &'a [ContentAttribute]) -> Self {
        Self { attributes, ids: vec![None; attributes.len()], next: 0, names: NameIds::default() }
    }

    /// Writes the attribute at place `at`: its id and, the first time, all of it.
    fn write(&mut self, out: &mut Vec<u8>, at: u32) {
        let at = at as usize;
        if let Some(id) = self.ids[at] {
            return write_var_uint(out, u64::from(id));
        }
        self.ids[at] = Some(self.next);
        write_var_uint(out, u64::from(self.next));
        self.next += 1;
        let attribute = &self.attributes[at];
        let (name_id, new) = self.names.id(&attribute.name);
        write_var_uint(out, name_id);
        if new {
            write_var_string(out, &attribute.name);
        }
        attribute.value.encode(out);
    }
}

/// Numbers names in order of first use. There are four or a few more: looking through them is quicker than hashing.
#[derive(Default)]
struct NameIds<'a> {
    first: Vec<&'a str>,
    others: HashMap<&'a str, u64>,
}

impl<'a> NameIds<'a> {
    /// The id of `name`, and whether it is new.
    fn id(&mut self, name: &'a str) -> (u64, bool) {
        const FEW: usize = 16;
        if let Some(id) = self.first.iter().position(|known| *known == name) {
            return (id as u64, false);
        }
        if self.first.len() < FEW {
            self.first.push(name);
            return (self.first.len() as u64 - 1, true);
        }
        let next = (FEW + self.others.len()) as u64;
        let id = *self.others.entry(name).or_insert(next);
        (id, id == next)
    }
}
