//! The one seeded hash. It must stay as it is for ever: tables and sticky clients depend on its values.
//!
//! It uses 64-bit multiplications only, since a kernel program has no wider ones. It is meant to spread
//! evenly, not to withstand somebody who knows the seed.

/// Mixes one word so that every bit of it reaches every bit of the result (the finalizer of `SplitMix64`,
/// Steele, Lea and Flood 2014).
pub const fn mix(word: u64) -> u64 {
    let word = word ^ (word >> 30);
    let word = word.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = word ^ (word >> 27);
    let word = word.wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Hashes words in order under a seed. Each is mixed for itself with a key of its index, so that a processor mixes
/// all of them at once.
pub const fn words(seed: u64, words: &[u64]) -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut key = mix(seed.wrapping_add(STEP));
    let mut sum = key;
    let mut at = 0;
    while at < words.len() {
        key = key.wrapping_add(STEP);
        sum = sum.wrapping_add(mix(words[at] ^ key));
        at += 1;
    }
    mix(sum)
}

/// Hashes a name under a seed, its length included.
pub const fn name(seed: u64, name: &[u8]) -> u64 {
    let mut state = words(seed, &[name.len() as u64]);
    let mut at = 0;
    while at < name.len() {
        state = mix(state.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ name[at] as u64);
        at += 1;
    }
    state
}

/// Maps a hash onto `0..below` evenly (multiply and shift, Lemire 2019). `below` 0 gives 0.
pub const fn below(hash: u64, below: u32) -> u32 {
    (((hash >> 32) * below as u64) >> 32) as u32
}
