//! What uses up a limit of the whole machine, or measures what others would disturb. `make product` runs these after
//! all other product tests and one at a time; whoever runs the tests by hand does the same with
//! `--skip alone::`, then `alone:: --test-threads=1`.

mod bomb;
mod crowd;
mod lost;
mod shells;
mod soak;
