//! Laws of `any` over random values and random bytes.

use proptest::prelude::*;
use yhub_encoding::{Any, AnyRef, MAX_ANY_DEPTH, Object, Reader, skip_any};

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), any::<i32>().prop_map(f64::from), any::<f32>().prop_map(f64::from), Just(-0.0), Just(f64::NAN)]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[0-9]{1,3}", "[ab]"]
}

fn value() -> impl Strategy<Value = Any> {
    let leaf = prop_oneof![
        Just(Any::Undefined),
        Just(Any::Null),
        any::<bool>().prop_map(Any::Bool),
        number().prop_map(Any::Number),
        any::<i64>().prop_map(Any::BigInt),
        any::<String>().prop_map(|text| Any::String(text.into())),
        any::<Vec<u8>>().prop_map(|bytes| Any::Bytes(bytes.into())),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Any::Array),
            prop::collection::vec((key().prop_map(Into::into), inner), 0..20)
                .prop_map(|entries| Any::Object(Object::from_entries(entries))),
        ]
    })
}

proptest! {
    #[test]
    fn values_are_read_back(value in value()) {
        let bytes = value.to_bytes();
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(Any::decode(&mut reader, MAX_ANY_DEPTH), Ok(value));
        prop_assert!(reader.is_empty());
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(skip_any(&mut reader, MAX_ANY_DEPTH), Ok(()));
        prop_assert!(reader.is_empty());
        for end in 0..bytes.len() {
            prop_assert!(Any::from_bytes(&bytes[..end]).is_err());
            prop_assert!(skip_any(&mut Reader::new(&bytes[..end]), MAX_ANY_DEPTH).is_err());
        }
    }

    #[test]
    fn all_readers_agree_on_any_bytes(mut bytes: Vec<u8>, tag in 114u8..128) {
        bytes.insert(0, tag);
        agree(&bytes)?;
    }

    #[test]
    fn all_readers_agree_on_damaged_values(value in value(), at: prop::sample::Index, byte: u8) {
        let mut bytes = value.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        agree(&bytes)?;
    }
}

fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (mut tree, mut skip, mut look) = (Reader::new(bytes), Reader::new(bytes), Reader::new(bytes));
    let read = Any::decode(&mut tree, 4);
    prop_assert_eq!(skip_any(&mut skip, 4), read.clone().map(drop));
    prop_assert_eq!(AnyRef::decode(&mut look, 4).map(drop), read.clone().map(drop));
    if let Ok(value) = read {
        prop_assert_eq!((skip.position(), look.position()), (tree.position(), tree.position()));
        // Written anew it is in normal form, which is read and written without change.
        let bytes = value.to_bytes();
        prop_assert_eq!(Any::from_bytes(&bytes).map(|value| value.to_bytes()), Ok(bytes));
    }
    Ok(())
}
