//! The file system side of it. Everything here blocks.

use std::{
    fs::{self, DirEntry, File},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use yhub_core::{AssetId, RoomId};

use super::record::Header;
use crate::{Allowance, Brought, ScanPage, StoredName, StoredObject};

const TMP: &str = "tmp";

/// Others may take away a directory that has just become empty; so often it is made again.
const ATTEMPTS: usize = 16;

/// Why the disk could not do it.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    Damaged { id: AssetId, file: PathBuf, what: String },
    TooLarge { id: AssetId, size_bytes: u64 },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(super) struct Disk {
    pub(super) dir: PathBuf,
    pub(super) abandoned_after: Duration,
}

impl Disk {
    pub(super) fn make(&self) -> Result<(), Failure> {
        fs::create_dir_all(self.dir.join(TMP))?;
        sync_dir(&self.dir)?;
        Ok(())
    }

    /// Can a file be written?
    pub(super) fn probe(&self) -> Result<(), Failure> {
        let (_, path) = self.temporary()?;
        Ok(fs::remove_file(path)?)
    }

    pub(super) fn write(&self, id: &AssetId, asset: &[u8]) -> Result<(), Failure> {
        let (mut file, path) = self.temporary()?;
        let written = (|| {
            file.write_all(&Header::of(id, asset).encode())?;
            file.write_all(asset)?;
            file.sync_all()?;
            self.put_in_place(&path, id)
        })();
        if written.is_err() {
            // If this fails as well, it is cleared away later.
            let _ = fs::remove_file(&path);
        }
        Ok(written?)
    }

    fn put_in_place(&self, path: &Path, id: &AssetId) -> io::Result<()> {
        let room = self.room_dir(&id.room);
        let fan = room.parent().expect("it was joined from three").to_owned();
        let target = room.join(hex(&[id.to_string().as_bytes()]));
        for attempt in 1.. {
            fs::create_dir_all(&room)?;
            match fs::rename(path, &target) {
                Err(error) if error.kind() == ErrorKind::NotFound && attempt < ATTEMPTS => {}
                renamed => {
                    renamed?;
                    break;
                }
            }
        }
        // From the file upwards, also directories that somebody else has made and perhaps not flushed yet. One that is gone
        // by now was emptied after we had filled it.
        for dir in [&room, &fan, &self.dir] {
            match sync_dir(dir) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                synced => synced?,
            }
        }
        Ok(())
    }

    pub(super) fn read(&self, id: &AssetId, max_bytes: u64, allowance: &Allowance) -> Result<Option<Brought<Bytes>>, Failure> {
        let path = self.file(id);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return self.gone(),
            opened => opened?,
        };
        let damaged = |what: String| Failure::Damaged { id: id.clone(), file: path.clone(), what };
        let file_bytes = file.metadata()?.len();
        let header = Header::read(&mut file)?.map_err(damaged)?;
        if header.id_text() != id.to_string() {
            return Err(damaged(format!("it holds the asset {:?}", header.id_text())));
        }
        // Before anything is reserved for it.
        if header.len().checked_add(header.asset_bytes) != Some(file_bytes) {
            let expected = header.asset_bytes;
            return Err(damaged(format!("it says that {expected} bytes follow, and has {file_bytes} bytes altogether")));
        }
        if header.asset_bytes > max_bytes {
            return Err(Failure::TooLarge { id: id.clone(), size_bytes: header.asset_bytes });
        }
        if !allowance.take(header.asset_bytes) {
            return Ok(Some(Brought::TooLong { size_bytes: header.asset_bytes }));
        }
        let mut asset = Vec::with_capacity(usize::try_from(header.asset_bytes).map_err(io::Error::other)?);
        file.read_to_end(&mut asset)?;
        if header.fits(&asset) {
            Ok(Some(Brought::Whole(asset.into())))
        } else {
            Err(damaged("its checksum is wrong".to_owned()))
        }
    }

    /// A file is not there. If the directory of all of them is not there either, that says nothing about the file: perhaps
    /// a disk is not mounted.
    fn gone<T>(&self) -> Result<Option<T>, Failure> {
        fs::metadata(self.dir.join(TMP))?;
        Ok(None)
    }

    pub(super) fn delete(&self, id: &AssetId) -> Result<(), Failure> {
        let room = self.room_dir(&id.room);
        match fs::remove_file(self.file(id)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return self.gone::<()>().map(drop),
            removed => removed?,
        }
        sync_dir(&room).or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
        // Stays if there are others in it.
        let _ = fs::remove_dir(&room);
        Ok(())
    }

    /// The cursor is the last path that was listed, relative to the directory.
    pub(super) fn list(&self, of: Option<&RoomId>, after: Option<&str>, max: usize) -> Result<ScanPage<StoredObject>, Failure> {
        self.gone::<()>()?;
        let after: Vec<&str> = after.map(|after| after.split('/').collect()).unwrap_or_default();
        let mut items = Vec::new();
        let of = of.map(|room| room_parts(room).join("/"));
        for fan in names(&self.dir)?.into_iter().filter(|name| name.len() == 2) {
            if after.first().is_some_and(|after| fan.as_str() < *after) {
                continue;
            }
            for room in names(&self.dir.join(&fan))? {
                let place = format!("{fan}/{room}");
                let is_before = after.len() > 1 && place < after[..2].join("/");
                if is_before || of.as_ref().is_some_and(|of| *of != place) {
                    continue;
                }
                for asset in names(&self.dir.join(&place))? {
                    let file = format!("{place}/{asset}");
                    if after.len() > 2 && file <= after.join("/") {
                        continue;
                    }
                    // Gone since its directory was read, otherwise.
                    let Some(object) = self.look_at(&file)? else { continue };
                    items.push(object);
                    if items.len() == max {
                        return Ok(ScanPage { items, next: Some(file) });
                    }
                }
            }
        }
        Ok(ScanPage { items, next: None })
    }

    fn look_at(&self, relative: &str) -> Result<Option<StoredObject>, Failure> {
        let mut file = match File::open(self.dir.join(relative)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let metadata = file.metadata()?;
        let modified_ms = modified_ms(&metadata)?;
        let other = || StoredName::Other(relative.to_owned());
        if !metadata.is_file() {
            return Ok(Some(StoredObject { name: other(), size_bytes: 0, modified_ms }));
        }
        let (name, size_bytes) = match Header::read(&mut file)? {
            // In its place and of the size that it says: else it is no asset to whoever asks for one.
            Ok(header) => match header.id_text().parse::<AssetId>() {
                Ok(id) if self.file(&id) == self.dir.join(relative) && id.to_string() == header.id_text() => {
                    (StoredName::Asset(id), header.asset_bytes)
                }
                _ => (other(), metadata.len()),
            },
            Err(_) => (other(), metadata.len()),
        };
        Ok(Some(StoredObject { name, size_bytes, modified_ms }))
    }

    /// Takes away what was being written and never will be.
    pub(super) fn clear_abandoned(&self, now_ms: u64) -> Result<(), Failure> {
        let grace_ms = u64::try_from(self.abandoned_after.as_millis()).unwrap_or(u64::MAX);
        for entry in entries(&self.dir.join(TMP))? {
            let touched_ms = match entry.metadata() {
                // Another node may clear away, or have finished it.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                metadata => modified_ms(&metadata?)?,
            };
            if touched_ms.saturating_add(grace_ms) <= now_ms {
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    removed => removed?,
                }
            }
        }
        Ok(())
    }

    /// A new file that nobody else writes to.
    fn temporary(&self) -> io::Result<(File, PathBuf)> {
        let path = self.dir.join(TMP).join(uuid::Uuid::new_v4().to_string());
        Ok((File::create_new(&path)?, path))
    }

    fn room_dir(&self, room: &RoomId) -> PathBuf {
        let [fan, room] = room_parts(room);
        self.dir.join(fan).join(room)
    }

    fn file(&self, id: &AssetId) -> PathBuf {
        self.room_dir(&id.room).join(hex(&[id.to_string().as_bytes()]))
    }
}

/// The two directories of a room.
fn room_parts(room: &RoomId) -> [String; 2] {
    let room = hex(&[room.org().as_bytes(), room.docid().as_bytes(), room.branch().as_bytes()]);
    [room[..2].to_owned(), room]
}

/// SHA-256 of parts, which cannot be divided in another way.
fn hex(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is in a directory, by name. What is named otherwise than we name things is not ours.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let is_hex = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let mut names: Vec<String> =
        entries(dir)?.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).filter(is_hex).collect();
    names.sort_unstable();
    Ok(names)
}

/// A directory that is gone is empty.
fn entries(dir: &Path) -> io::Result<Vec<DirEntry>> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        read => read?.collect(),
    }
}

fn modified_ms(metadata: &fs::Metadata) -> io::Result<u64> {
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Makes the names in a directory last. What cannot be said of a directory, on some file systems, is not asked for.
fn sync_dir(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}
