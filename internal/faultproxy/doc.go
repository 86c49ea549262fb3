// Package faultproxy is the network between clients and a server in tests: a TCP proxy that forwards everything until
// the test asks for a fault.
package faultproxy
