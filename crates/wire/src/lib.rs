//! HTTP/1 codec, HTTP/2, TLS, upstream connections, and the server of control listeners.
