//! The little of Redis's protocol that asking one question takes.

use std::io::{self, BufRead, BufReader, Read, Write};

/// Sends a command and reads its answer. The outer error is the connection's, the inner one the server's.
///
/// An answer is shown as `redis-cli --raw` does: elements in lines of their own, nothing for nil. Bytes that are no UTF-8
/// are replaced.
pub(crate) fn ask<A: AsRef<[u8]>>(
    connection: &mut (impl Read + Write),
    args: impl IntoIterator<Item = A>,
) -> io::Result<Result<String, String>> {
    let args: Vec<A> = args.into_iter().collect();
    let mut request = format!("*{}\r\n", args.len()).into_bytes();
    for arg in &args {
        request.extend(format!("${}\r\n", arg.as_ref().len()).bytes());
        request.extend(arg.as_ref());
        request.extend(b"\r\n");
    }
    connection.write_all(&request)?;
    answer(&mut BufReader::new(connection))
}

fn answer(from: &mut impl BufRead) -> io::Result<Result<String, String>> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line.trim_end();
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("the server sent no answer but {line:?}"));
    let rest = line.get(1..).ok_or_else(invalid)?;
    let number = || rest.parse::<i64>().map_err(|_| invalid());
    match line.as_bytes()[0] {
        b'+' | b':' => Ok(Ok(rest.to_owned())),
        b'-' => Ok(Err(rest.to_owned())),
        b'$' => {
            let Ok(len) = usize::try_from(number()?) else { return Ok(Ok(String::new())) };
            let mut bytes = vec![0; len + 2];
            from.read_exact(&mut bytes)?;
            Ok(Ok(String::from_utf8_lossy(&bytes[..len]).into_owned()))
        }
        b'*' => {
            let mut lines = Vec::new();
            for _ in 0..number()? {
                // An error among the elements is shown as one of them, as in the answer of EXEC.
                lines.push(answer(from)?.unwrap_or_else(|error| error));
            }
            Ok(Ok(lines.join("\n")))
        }
        _ => Err(invalid()),
    }
}
