// Package model is a model of the protocol.
package model
