//! What is kept, for how long, and that nobody sees what is not true any more.
