//! Bodies of every framing, cut anywhere.

use super::*;
use proptest::prelude::*;

/// All that a body of these bytes holds, given in pieces of this length; what is left after it.
fn read(mut decoder: Decoder, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), String> {
    let (mut body, mut trailers, mut ahead) = (Vec::new(), HeaderMap::new(), Bytes::new());
    let mut pieces = bytes.chunks(piece.max(1));
    loop {
        match decoder.decode(&mut ahead).map_err(|error| error.to_string())? {
            Decoded::Data(data) => body.extend_from_slice(&data),
            Decoded::Trailers(fields) => trailers = fields,
            Decoded::More => match pieces.next() {
                Some(more) => ahead = [&ahead[..], more].concat().into(),
                None => decoder.connection_ended().map_err(|error| error.to_string())?,
            },
            Decoded::End => {
                let rest = [&ahead[..], &pieces.collect::<Vec<_>>().concat()].concat();
                return Ok((body, trailers, rest));
            }
        }
    }
}

fn chunked(bytes: &str) -> Result<(String, usize, String), String> {
    let (body, trailers, rest) = read(Decoder::chunked(), bytes.as_bytes(), bytes.len())?;
    for piece in 1..bytes.len().min(8) {
        assert_eq!(
            read(Decoder::chunked(), bytes.as_bytes(), piece)?,
            (body.clone(), trailers.clone(), rest.clone())
        );
    }
    Ok((String::from_utf8(body).unwrap(), trailers.len(), String::from_utf8(rest).unwrap()))
}

#[test]
fn a_body_of_a_length_ends_there_and_one_without_with_the_connection() {
    let text = b"some bytes";
    assert_eq!(
        read(Decoder::Length(4), text, 3),
        Ok((b"some".to_vec(), HeaderMap::new(), b" bytes".to_vec()))
    );
    assert_eq!(read(Decoder::NOTHING, text, 3).unwrap().2, text);
    assert_eq!(read(Decoder::UntilEnd, text, 3).unwrap().0, text);
    let incomplete = Error::Incomplete.to_string();
    assert_eq!(read(Decoder::Length(11), text, 3), Err(incomplete.clone()));
    assert_eq!(chunked("5\r\nab"), Err(incomplete.clone()));
    assert_eq!(chunked("1\r\na\r\n0\r\n"), Err(incomplete));
}

#[test]
fn chunks_are_read_as_the_standard_writes_them() {
    let read = |bytes| chunked(bytes).unwrap();
    assert_eq!(read("2\r\nhi\r\n0\r\n\r\nGET"), ("hi".into(), 0, "GET".into()));
    assert_eq!(read("1\r\nh\r\n0A\r\n0123456789\r\n0\r\n\r\n").0, "h0123456789");
    assert_eq!(read("2;a=b;c=\"d\"\r\nhi\r\n0 ;x\r\n\r\n").0, "hi");
    assert_eq!(read("2 \t\r\nhi\r\n0\r\nA: 1\r\nB: 2\r\n\r\nrest"), ("hi".into(), 2, "rest".into()));
    assert_eq!(read("0000000000000002\r\nhi\r\n00\r\n\r\n").0, "hi");
}

#[test]
fn what_two_readers_could_read_differently_is_no_chunk() {
    for bytes in [
        "\r\n",
        "zz\r\nhi\r\n0\r\n\r\n",
        "-2\r\nhi\r\n",
        "+2\r\nhi\r\n",
        "0x2\r\nhi\r\n",
        "2\nhi\r\n",
        " 2\r\nhi\r\n",
        "2 2\r\nhi\r\n",
        "2\rX\nhi\r\n",
        "2;a\nb\r\nhi\r\n",
        "2;a\rb\r\nhi\r\n",
        "2;\0\r\nhi\r\n",
        "2\r\nhiXX0\r\n\r\n",
        "2\r\nhi\n0\r\n\r\n",
        "2\r\nhi\r0\r\n\r\n",
        "ffffffffffffffffff\r\nhi\r\n",
        "00000000000000002\r\nhi\r\n",
        "2\u{b}\r\nhi\r\n",
        "0\r\nA : 1\r\n\r\n",
        "0\r\n: 1\r\n\r\n",
        "0\r\nA\r\n\r\n",
        "0\r\nA: 1\r\n 2\r\n\r\n",
        "0\r\nA: \0\r\n\r\n",
        "0\r\n\n",
        "0\r\nA: 1\n\n",
    ] {
        let error = chunked(bytes).unwrap_err();
        assert!(error.contains("none") || error.contains("longer"), "{bytes:?}: {error}");
    }
}

#[test]
fn what_is_not_the_body_has_a_limit() {
    let line = format!("2;{}", "x".repeat(MAX_SIZE_LINE));
    assert!(chunked(&line).unwrap_err().contains("does not end"));
    assert!(chunked(&format!("{line}\r\n")).unwrap_err().contains("does not end"));
    assert!(chunked("x").unwrap_err().contains("none"), "nobody waits for its end");
    let chunk = format!("1;{}\r\na\r\n", "x".repeat(2_000));
    assert!(chunked(&chunk.repeat(9)).unwrap_err().contains("16 KiB"));
    assert_eq!(chunked(&format!("{}0\r\n\r\n", chunk.repeat(8))).unwrap().0.len(), 8);
    let trailers = |n: usize| format!("0\r\n{}\r\n", "a: 1\r\n".repeat(n));
    assert_eq!(chunked(&trailers(MAX_FIELDS)).unwrap().1, MAX_FIELDS);
    assert!(chunked(&trailers(MAX_FIELDS + 1)).unwrap_err().contains("200"));
    let long = format!("0\r\na: {}", "x".repeat(MAX_TRAILERS));
    assert!(chunked(&long).unwrap_err().contains("16 KiB"));
}

proptest! {
    #[test]
    fn any_body_comes_out_as_it_was_cut(pieces in proptest::collection::vec("[a-z\r\n0-9]{1,40}", 0..20), cut in 1usize..30) {
        let mut bytes: String = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect();
        bytes.push_str("0\r\n\r\nnext");
        let (body, trailers, rest) = read(Decoder::chunked(), bytes.as_bytes(), cut).unwrap();
        prop_assert_eq!(body, pieces.concat().into_bytes());
        prop_assert_eq!((trailers.len(), &rest[..]), (0, &b"next"[..]));
    }

    #[test]
    fn any_bytes_are_read_alike_however_they_are_cut(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'0')], 0..60), cut in 1usize..10) {
        prop_assert_eq!(read(Decoder::chunked(), &bytes, cut), read(Decoder::chunked(), &bytes, bytes.len()));
    }
}
