//! Claims about the codec.

mod body;
mod limits;
mod random;
mod request;
mod response;
mod write;

use portolan_model::http::{Fields, Method, RequestHead, ResponseHead, Scheme};

use super::*;

fn try_request(input: &[u8], limits: &HeadLimits) -> Result<(RequestHead, RequestInfo), Refusal> {
    let mut head = RequestHead::default();
    match parse_request(input, limits, Scheme::Http, &mut head)? {
        Parsed::Complete(info) => Ok((head, info)),
        Parsed::Partial => panic!("partial: {:?}", String::from_utf8_lossy(input)),
    }
}

fn request(input: &str) -> (RequestHead, RequestInfo) {
    match try_request(input.as_bytes(), &HeadLimits::default()) {
        Ok(read) => read,
        Err(refusal) => panic!("{refusal}: {input:?}"),
    }
}

/// A request with these lines behind Host.
fn request_with(lines: &str) -> (RequestHead, RequestInfo) {
    request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
}

fn try_response(
    input: &[u8],
    method: &Method,
    limits: &HeadLimits,
) -> Result<(ResponseHead, ResponseInfo), Refusal> {
    let mut head = ResponseHead::default();
    match parse_response(input, limits, method, &mut head)? {
        Parsed::Complete(info) => Ok((head, info)),
        Parsed::Partial => panic!("partial: {:?}", String::from_utf8_lossy(input)),
    }
}

fn response_to(method: &Method, input: &str) -> (ResponseHead, ResponseInfo) {
    match try_response(input.as_bytes(), method, &HeadLimits::default()) {
        Ok(read) => read,
        Err(refusal) => panic!("{refusal}: {input:?}"),
    }
}

fn response(input: &str) -> (ResponseHead, ResponseInfo) {
    response_to(&Method::Get, input)
}

fn names(fields: &Fields) -> Vec<&str> {
    fields.iter().map(|field| field.name).collect()
}

fn fields(list: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in list {
        fields.push(name, value.as_bytes()).unwrap();
    }
    fields
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}
