package stage

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// secret is in every URL of these tests, and must be in no error.
const secret = "5ec2e7"

// home is where the servers of these tests are.
var home = netip.MustParseAddr("127.0.0.1")

// phoneBook is a Resolver.
type phoneBook map[string][]netip.Addr

func (b phoneBook) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if addrs, ok := b[host]; ok {
		return addrs, nil
	}
	return nil, &net.DNSError{Err: "no such host " + secret, Name: host, Server: "10.0.0.53:53", IsNotFound: true}
}

func addrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

// authority makes certificates for names of example.com once for all tests.
var authority = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test " + secret},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		DNSNames: []string{"example.com", "*.example.com"}, IPAddresses: []net.IP{home.AsSlice()},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
})

// newServer starts a server on home that speaks TLS, and returns its port.
func newServer(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	cert, _ := authority()
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return portOf(server.Listener)
}

// newRawServer starts a server that does with each connection as it likes, until the test ends.
func newRawServer(t *testing.T, withTLS bool, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(home.String(), "0"))
	require.NoError(t, err)
	if withTLS {
		cert, _ := authority()
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
	return portOf(listener)
}

func portOf(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// untilClosed reads what the client sends until it goes away.
func untilClosed(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// forPort is a configuration that reaches a server of these tests by any name of example.com.
func forPort(port string) HTTPConfig {
	_, pool := authority()
	number, err := netip.ParseAddrPort("0.0.0.0:" + port)
	if err != nil {
		panic(err)
	}
	return HTTPConfig{
		AllowedHosts:    []string{"*.example.com"},
		Ports:           []uint16{number.Port()},
		AllowedPrefixes: []netip.Prefix{netip.PrefixFrom(home, 32)},
		Resolver: phoneBook{
			"photos.example.com": {home}, "other.example.com": {home}, "inner.example.com": addrs("10.0.0.7"),
		},
		RootCAs: pool,
	}
}

func newSource(t *testing.T, cfg HTTPConfig) *HTTPSource {
	t.Helper()
	source, err := NewHTTPSource(cfg)
	require.NoError(t, err)
	return source
}

// photoURL is a signed URL of a server.
func photoURL(port string) string {
	return "https://photos.example.com:" + port + "/rooms/7.jpg?X-Amz-Signature=" + secret
}

func readAll(t *testing.T, original Original) []byte {
	t.Helper()
	data, err := io.ReadAll(original.Body)
	require.NoError(t, err)
	require.NoError(t, original.Body.Close())
	return data
}
