//! A server that speaks S3 in a process of its own, for benchmarks and for trying things out. Says where it is, and ends with its
//! standard input.

use std::io::Read;

use yhub_testkit::servers::S3;

fn main() {
    let server = S3::start();
    println!("{} {} {}", server.endpoint(), S3::ACCESS_KEY, S3::SECRET_KEY);
    // Whoever started it is gone when this ends.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
