// Package predicttest is a prediction API of the Replicate kind for tests, that misbehaves on demand.
package predicttest
