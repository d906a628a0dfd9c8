//! Listeners, workers and the walk of a request.
