// Package worker runs background jobs inside any Go program.
package worker
