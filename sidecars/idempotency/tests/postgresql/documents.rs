//! Documents that cannot be stored: nothing is, the message says why, and the connection is kept.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::Database;
use crate::sidecar::{Configuration, Sidecar};

crate::trials![
    malformed_json_is_refused_with_its_place,
    truncated_json_is_refused_with_its_place,
    duplicate_member_names_are_refused_wherever_they_are,
    an_oversized_document_is_refused_and_its_connection_kept,
    a_document_of_exactly_the_limit_is_stored,
    a_missing_key_field_is_named,
    a_key_field_of_a_wrong_type_is_named_with_what_was_found,
    another_content_type_is_refused_and_its_body_read,
    a_body_that_breaks_off_stores_nothing,
    an_entry_is_read_back_byte_for_byte,
];

/// Posts documents that are refused, all on one connection, and then a good one.
async fn refused(database: &Database, sidecar: &Sidecar, cases: &[(&str, u16, &str, &str)]) {
    let mut client = sidecar.client().await;
    for (document, status, kind, detail) in cases {
        let answer = client.post((*document).to_owned()).await;
        assert_eq!(answer.problem(*status, kind), *detail);
        assert!(!answer.headers.contains_key("connection"), "{answer:?}");
    }
    client.post(r#"{"orderId": 1}"#).await.stored();
    assert_eq!(database.entries().await, 1);
}

async fn malformed_json_is_refused_with_its_place(database: Database) {
    let sidecar = Sidecar::new(&database).await;
    let kind = "malformed-json";
    let cases = [
        (
            "{\"orderId\": 1,}",
            400,
            kind,
            "the document is not valid JSON: trailing comma at line 1 column 15",
        ),
        (
            "{\"orderId\":\n tru }",
            400,
            kind,
            "the document is not valid JSON: expected ident at line 2 column 5",
        ),
        (
            "[1]",
            422,
            "not-an-object",
            "the document is an array; it must be a JSON object",
        ),
    ];
    refused(&database, &sidecar, &cases).await;
    let answer = sidecar.post(&b"{\"orderId\": \"\xff\"}"[..]).await;
    let detail = answer.problem(400, "not-utf-8");
    assert_eq!(
        detail,
        "the document is not UTF-8: invalid byte at line 1 column 14"
    );
    assert_eq!(answer.json()["column"], 14);
}

async fn truncated_json_is_refused_with_its_place(database: Database) {
    let sidecar = Sidecar::new(&database).await;
    let (kind, begin) = (
        "truncated-json",
        "the document ends too early: EOF while parsing",
    );
    let object = format!("{begin} an object at line 1 column 13");
    let string = format!("{begin} a string at line 2 column 2");
    let value = format!("{begin} a value at line 1 column 0");
    let cases = [
        ("{\"orderId\": 1", 400, kind, object.as_str()),
        ("{\"orderId\":\n\"a", 400, kind, string.as_str()),
        ("", 400, kind, value.as_str()),
    ];
    refused(&database, &sidecar, &cases).await;
}

async fn duplicate_member_names_are_refused_wherever_they_are(database: Database) {
    let sidecar = Sidecar::new(&database).await;
    let kind = "duplicate-member";
    let cases = [
        (
            "{\"orderId\": 1, \"orderId\": 2}",
            400,
            kind,
            "the member name \"orderId\" occurs twice in the document at line 1 column 24; names must be unique",
        ),
        (
            "{\"orderId\": 1, \"lines\": [{\"a\": 1, \"\\u0061\": 1}]}",
            400,
            kind,
            "the member name \"a\" occurs twice in /lines/0 at line 1 column 42; names must be unique",
        ),
    ];
    refused(&database, &sidecar, &cases).await;
}

/// A document of a size.
fn sized(bytes: usize) -> String {
    let (head, tail) = ("{\"orderId\": 1, \"note\": \"", "\"}");
    let note = "x".repeat(bytes - head.len() - tail.len());
    format!("{head}{note}{tail}")
}

async fn an_oversized_document_is_refused_and_its_connection_kept(database: Database) {
    let configuration = Configuration::new(&database).parameter("maxDocumentBytes", 10_000);
    let sidecar = Sidecar::start(&database, &configuration).await;
    let far_too_large = sized(3_000_000);
    let just_too_large = sized(10_001);
    let detail = "the document has more than 10000 bytes (maxDocumentBytes)";
    let cases = [
        (just_too_large.as_str(), 413, "document-too-large", detail),
        (far_too_large.as_str(), 413, "document-too-large", detail),
    ];
    refused(&database, &sidecar, &cases).await;

    // The same without Content-Length.
    let mut stream = sidecar.connect().await;
    let head = "POST /v1/entries HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{just_too_large}\r\n0\r\n\r\n",
        just_too_large.len()
    );
    let good = format!("{head}Content-Length: 14\r\nConnection: close\r\n\r\n{{\"orderId\": 2}}");
    stream.write_all(chunked.as_bytes()).await.unwrap();
    stream.write_all(good.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert!(answers.starts_with("HTTP/1.1 413 "), "{answers}");
    assert!(answers.contains("HTTP/1.1 201 "), "{answers}");
    assert_eq!(database.entries().await, 2);
}

async fn a_document_of_exactly_the_limit_is_stored(database: Database) {
    let configuration = Configuration::new(&database).parameter("maxDocumentBytes", 10_000);
    let sidecar = Sidecar::start(&database, &configuration).await;
    let index = sidecar.post(sized(10_000)).await.stored();
    let (known, entry) = sidecar.post(sized(10_000)).await.known();
    assert_eq!((known, entry["orderId"].as_i64()), (index, Some(1)));
}

async fn a_missing_key_field_is_named(database: Database) {
    let configuration = Configuration::new(&database).key_fields(&["/orderId", "/customer/id"]);
    let sidecar = Sidecar::start(&database, &configuration).await;
    for (document, pointers) in [
        (json!({"orderId": 1}), vec!["/customer/id"]),
        (json!({"orderId": 1, "customer": "c"}), vec!["/customer/id"]),
        (json!({"customer": {}}), vec!["/customer/id", "/orderId"]),
    ] {
        let answer = sidecar.post(document.to_string()).await;
        assert_eq!(
            answer.problem(422, "missing-key-field"),
            format!(
                "the document has no value at {}; every key field must be there",
                pointers.join(", ")
            )
        );
        assert_eq!(answer.json()["pointers"], json!(pointers));
    }
    sidecar
        .post(r#"{"orderId": 1, "customer": {"id": ""}}"#)
        .await
        .stored();
    assert_eq!(database.entries().await, 1);
}

async fn a_key_field_of_a_wrong_type_is_named_with_what_was_found(database: Database) {
    let sidecar = Sidecar::new(&database).await;
    let kind = "key-field-type";
    let cases = [
        (
            "{\"orderId\": null}",
            422,
            kind,
            "the key field /orderId is null; allowed are a string, a number, true and false",
        ),
        (
            "{\"orderId\": {\"id\": 1}}",
            422,
            kind,
            "the key field /orderId is an object; allowed are a string, a number, true and false",
        ),
        (
            "{\"orderId\": [1]}",
            422,
            kind,
            "the key field /orderId is an array; allowed are a string, a number, true and false",
        ),
    ];
    refused(&database, &sidecar, &cases).await;
}

async fn another_content_type_is_refused_and_its_body_read(database: Database) {
    let sidecar = Sidecar::new(&database).await;
    let mut client = sidecar.client().await;
    for (name, value, kind) in [
        ("content-type", "text/plain", "content-type"),
        (
            "content-type",
            "application/json; charset=utf-16",
            "content-type",
        ),
        ("content-encoding", "gzip", "content-encoding"),
    ] {
        let mut request = Request::post("/v1/entries")
            .body(Full::from(sized(500_000)))
            .unwrap();
        let headers = request.headers_mut();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert(name, value.parse().unwrap());
        let detail = client.send(request).await.problem(415, kind);
        assert!(detail.contains(value), "{detail}");
    }
    for request in [
        Request::put("/v1/entries")
            .body(Full::from(sized(500_000)))
            .unwrap(),
        Request::post("/v1/orders")
            .body(Full::from(sized(500_000)))
            .unwrap(),
    ] {
        let answer = client.send(request).await;
        assert!(answer.status.is_client_error(), "{answer:?}");
    }
    client.post(r#"{"orderId": 1}"#).await.stored();
}

async fn a_body_that_breaks_off_stores_nothing(database: Database) {
    let sidecar = Sidecar::new(&database).await;
    sidecar.warm().await.unwrap();
    let mut stream = sidecar.connect().await;
    let request = "POST /v1/entries HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"orderId\": 1}";
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
        "{answer}"
    );
    assert_eq!(database.entries().await, 0);
}

async fn an_entry_is_read_back_byte_for_byte(database: Database) {
    let sidecar = Sidecar::new(&database).await;
    let document = "{ \"orderId\" : 1.50,\r\n\t\"note\": \"\\u00e9é\\u0000\" }";
    let index = sidecar.post(document).await.stored();
    let whole = Bytes::from(format!("{{\"index\":{index},\"entry\":{document}}}"));
    assert_eq!(sidecar.get(index).await.body(), &whole);
    assert_eq!(sidecar.post(document).await.body(), &whole);
    sidecar.get(index + 1).await.problem(404, "no-entry");
}
