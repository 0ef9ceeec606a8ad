//! One file of an asset: `YHASSET1`, the length of its id in 4 bytes and of the asset in 8, both with the lowest byte first,
//! the SHA-256 of id and asset, the id as text, the asset.

use std::io::{self, Read};

use sha2::{Digest, Sha256};
use yhub_core::AssetId;

const MAGIC: &[u8; 8] = b"YHASSET1";
const FIXED_BYTES: usize = 8 + 4 + 8 + 32;
/// More than an id can have whose parts are as long as any store takes them.
const MOST_ID_BYTES: usize = 64 << 10;

/// What stands before the asset.
pub(super) struct Header {
    digest: [u8; 32],
    id_text: String,
    /// So many bytes follow.
    pub(super) asset_bytes: u64,
}

impl Header {
    pub(super) fn of(id: &AssetId, asset: &[u8]) -> Self {
        let id_text = id.to_string();
        Self { digest: digest(&id_text, asset), id_text, asset_bytes: asset.len() as u64 }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_BYTES + self.id_text.len());
        out.extend(MAGIC);
        out.extend((self.id_text.len() as u32).to_le_bytes());
        out.extend(self.asset_bytes.to_le_bytes());
        out.extend(self.digest);
        out.extend(self.id_text.as_bytes());
        out
    }

    /// Reads what stands before the asset. The inner error says what is wrong with it.
    pub(super) fn read(file: &mut impl Read) -> io::Result<Result<Self, String>> {
        let mut fixed = [0; FIXED_BYTES];
        if let Err(cut) = whole(file, &mut fixed)? {
            return Ok(Err(cut));
        }
        let (magic, rest) = fixed.split_at(8);
        let (id_len, rest) = rest.split_at(4);
        let (asset_len, digest) = rest.split_at(8);
        if magic != MAGIC {
            return Ok(Err("it does not begin as the file of an asset does".to_owned()));
        }
        let id_len = u32::from_le_bytes(id_len.try_into().expect("it was split off with this length")) as usize;
        if id_len > MOST_ID_BYTES {
            return Ok(Err(format!("it says that its id has {id_len} bytes")));
        }
        let mut id_text = vec![0; id_len];
        if let Err(cut) = whole(file, &mut id_text)? {
            return Ok(Err(cut));
        }
        Ok(String::from_utf8(id_text).map_err(|_| "its id is no text".to_owned()).map(|id_text| Self {
            digest: digest.try_into().expect("it is what was left"),
            id_text,
            asset_bytes: u64::from_le_bytes(asset_len.try_into().expect("it was split off with this length")),
        }))
    }

    /// How many bytes it has itself.
    pub(super) fn len(&self) -> u64 {
        (FIXED_BYTES + self.id_text.len()) as u64
    }

    pub(super) fn id_text(&self) -> &str {
        &self.id_text
    }

    /// Is this what it was written for?
    pub(super) fn fits(&self, asset: &[u8]) -> bool {
        digest(&self.id_text, asset) == self.digest
    }
}

/// Can an asset of this id be written, so that it can be read again?
pub(super) fn takes(id: &AssetId) -> bool {
    id.to_string().len() <= MOST_ID_BYTES
}

/// Fills `buffer`; an end before that is no error of the disk.
fn whole(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<Result<(), String>> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(Ok(())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err("it ends too early".to_owned())),
        Err(error) => Err(error),
    }
}

fn digest(id_text: &str, asset: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((id_text.len() as u64).to_le_bytes());
    hash.update(id_text);
    hash.update(asset);
    hash.finalize().into()
}
