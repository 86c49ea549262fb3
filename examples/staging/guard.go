package main

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard keeps other web sites from using the program through the browser of whoever runs it: they may not post to it,
// and not reach it under a name of theirs that they point at this machine.
func guard(bound net.Addr, next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(answer(func(http.ResponseWriter, *http.Request) error {
		return &problem{code: http.StatusForbidden, err: errors.New("the request comes from another web site")}
	}))
	next = headers(origin.Handler(next))
	if !loopback(bound.String()) {
		return next // the program was told to listen to the network, which may know it by any name
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopback(r.Host) {
			http.Error(w, "this program answers on this machine only: use http://"+bound.String()+"/", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loopback reports whether a host, with or without a port, is this machine as seen by itself.
func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// headers tells browsers to load nothing from elsewhere and to guess nothing.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
			"img-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}
