package stage

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// What is chosen by somebody who means harm: URLs in the first table, servers in the second. Everything must end with the
// right class of error, tell no secret, and leave nothing running.

// innocent asserts that an error tells nothing of a URL but its host, and nothing that a server has sent.
func innocent(t *testing.T, err error) {
	t.Helper()
	for e := []error{err}; len(e) > 0; e = e[1:] {
		assert.NotContains(t, fmt.Sprintf("%v %+v", e[0], e[0]), secret)
		switch wraps := e[0].(type) { //nolint:errorlint // it goes down the chain itself
		case interface{ Unwrap() error }:
			if inner := wraps.Unwrap(); inner != nil {
				e = append(e, inner)
			}
		case interface{ Unwrap() []error }:
			e = append(e, wraps.Unwrap()...)
		}
	}
	for _, part := range []string{"Signature", "rooms/7", "10.0.0.53"} {
		assert.NotContains(t, err.Error(), part)
	}
	assert.Less(t, len(err.Error()), 400)
}

// Nobody is asked for a URL that breaks a rule: a server that waits at the place that most of them lead to sees nothing.
func TestAttackURLs(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var asked atomic.Int32
	trap := func(net.Conn) { asked.Add(1) }
	t.Run("", func(t *testing.T) {
		port := newRawServer(t, false, trap)
		public := forPort(port)
		public.AllowedHosts, public.AllowPublic, public.AllowedPrefixes = nil, true, nil
		public.Resolver = strangeNames
		listed := forPort(port)
		listed.AllowedHosts = []string{"photos.example.com", "*.cdn.example.com", "10.0.0.7", "127.0.0.1"}
		listed.AllowedPrefixes, listed.Resolver = nil, strangeNames
		for _, table := range []struct {
			name string
			cfg  HTTPConfig
			rows []urlRow
		}{{"public", public, publicURLs}, {"listed", listed, listedURLs}} {
			for _, row := range table.rows {
				url := strings.ReplaceAll(row.url, "PORT", port)
				t.Run(table.name+" "+url[:min(len(url), 60)], func(t *testing.T) {
					cfg := working()
					cfg.Source = newSource(t, table.cfg)
					handler, err := NewHandler(cfg)
					require.NoError(t, err)
					_, err = handler.open(t.Context(), url+"?X-Amz-Signature="+secret)
					require.Error(t, err)
					refused(t, err, row.rule, ErrRefused)
					innocent(t, err)
				})
			}
		}
	})
	assert.Zero(t, asked.Load())
}

type urlRow struct {
	url  string
	rule Rule
}

// strangeNames are what a name server of somebody who means harm may say.
var strangeNames = phoneBook{
	"photos.example.com":       addrs("10.0.0.7"),
	"loopback.example.com":     addrs("127.0.0.1"),
	"both.example.com":         addrs("::1", "127.0.0.1"),
	"zero.example.com":         addrs("0.0.0.0", "::"),
	"mapped.example.com":       addrs("::ffff:127.0.0.1"),
	"nat64.example.com":        addrs("64:ff9b::127.0.0.1", "64:ff9b:1::127.0.0.1"),
	"6to4.example.com":         addrs("2002:7f00:1::1"),
	"metadata.google.internal": addrs("169.254.169.254"),
	"link.example.com":         addrs("fe80::1%lo"),
	"a.cdn.example.com":        addrs("192.168.1.1"),
	"localhost":                addrs("127.0.0.1"),
}

// publicURLs are opened where all of the public internet is allowed.
var publicURLs = []urlRow{
	// schemes
	{"http://photos.example.com/rooms/7.jpg", RuleScheme},
	{"HTTP://photos.example.com/rooms/7.jpg", RuleScheme},
	{"ftp://photos.example.com/rooms/7.jpg", RuleScheme},
	{"file:///etc/passwd", RuleScheme},
	{"gopher://127.0.0.1:6379/_FLUSHALL", RuleScheme},
	{"javascript:alert(1)", RuleScheme},
	{"data:image/png;base64,iVBORw0KGgo=", RuleScheme},
	{"jar:https://photos.example.com/a!/b", RuleScheme},
	{secret + ":x", RuleURL}, // begins with a digit
	{"x-" + secret + ":x", RuleScheme},
	{"//photos.example.com/rooms/7.jpg", RuleScheme},
	{"rooms/7.jpg", RuleScheme},
	{"", RuleScheme},
	// no URLs, or without a host
	{"https://", RuleURL},
	{"https:///rooms/7.jpg", RuleURL},
	{"https:photos.example.com/rooms/7.jpg", RuleURL},
	{"https://:443/", RuleURL},
	{"https://photos.example.com\\@127.0.0.1:PORT/", RuleURL},
	{"https://photos.example.com /", RuleURL},
	{"https://photos.example.com\t/", RuleURL},
	{"https://photos.example.com/\r\nHost: 127.0.0.1", RuleURL},
	{"https://photos.example.com/%zz", RuleURL},
	{"https://photos.example.com%00.evil.example/", RuleURL},
	{"https://%31%32%37.0.0.1:PORT/", RuleURL},
	{"https://[::1/", RuleURL},
	{"https://[127.0.0.1]x/", RuleURL},
	{"https://photos.example.com:https/", RuleURL},
	{"https://user:" + secret + "#@photos.example.com/", RuleURL}, // would be told as a port
	{"https://photos.example.com/" + strings.Repeat(secret, MaxURLLength/6), RuleURL},
	// credentials
	{"https://user@photos.example.com/", RuleCredentials},
	{"https://user:" + secret + "@photos.example.com/", RuleCredentials},
	{"https://:@photos.example.com/", RuleCredentials},
	{"https://@photos.example.com/", RuleCredentials},
	{"https://photos.example.com@127.0.0.1:PORT/", RuleCredentials},
	{"https://photos.example.com:443@127.0.0.1:PORT/", RuleCredentials},
	{"https://photos.example.com%2f@127.0.0.1:PORT/", RuleCredentials},
	// ports
	{"https://photos.example.com:80/", RulePort},
	{"https://photos.example.com:22/", RulePort},
	{"https://photos.example.com:6379/", RulePort},
	{"https://photos.example.com:0/", RulePort},
	{"https://photos.example.com:65979/", RulePort}, // 443 in sixteen bits
	{"https://photos.example.com:184467440737095520590443/", RulePort},
	// hosts that some take for addresses
	{"https://2130706433:PORT/", RuleHost},
	{"https://127.1:PORT/", RuleHost},
	{"https://0x7f000001:PORT/", RuleHost},
	{"https://0x7f.0.0.1:PORT/", RuleHost},
	{"https://0177.0.0.1:PORT/", RuleHost},
	{"https://017700000001:PORT/", RuleHost},
	{"https://127.0.0.1.:PORT/", RuleHost},
	{"https://127.0.0.0x1:PORT/", RuleHost},
	{"https://0X7F000001:PORT/", RuleHost},
	{"https://１２７.0.0.1:PORT/", RuleHost},
	{"https://127。0。0。1:PORT/", RuleHost},
	{"https://[fe80::1%25eth0]:PORT/", RuleHost},
	// other hosts
	{"https://localhost:PORT/", RuleHost},
	{"https://metadata/", RuleHost},
	{"https://photos.example.com./", RuleHost},
	{"https://photos..example.com/", RuleHost},
	{"https://.example.com/", RuleHost},
	{"https://phötos.example.com/", RuleHost},
	{"https://photos.example.com/", RuleAddress},
	{"https://photos。example。com/", RuleHost},
	{"https://pho\u00adtos.example.com/", RuleHost},
	{"https://\u202ephotos.example.com/", RuleHost},
	{"https://\u212aitchen.example.com/", RuleHost}, // the sign for kelvin, a K to ToLower
	{"https://photos*.example.com/", RuleHost},
	{"https://" + strings.Repeat("a", 64) + ".example.com/", RuleHost},
	{"https://" + strings.Repeat("a.", 1000) + "example.com/", RuleHost},
	// addresses
	{"https://127.0.0.1:PORT/", RuleAddress},
	{"https://127.8.9.10/", RuleAddress},
	{"https://0.0.0.0:PORT/", RuleAddress},
	{"https://0.1.2.3/", RuleAddress},
	{"https://10.0.0.1/", RuleAddress},
	{"https://172.16.0.1/", RuleAddress},
	{"https://172.31.255.255/", RuleAddress},
	{"https://192.168.178.1/", RuleAddress},
	{"https://169.254.1.1/", RuleAddress},
	{"https://169.254.169.254/latest/meta-data/", RuleAddress},
	{"https://168.63.129.16/", RuleAddress},
	{"https://100.64.0.1/", RuleAddress},
	{"https://100.100.100.200/", RuleAddress},
	{"https://192.0.0.192/", RuleAddress},
	{"https://192.0.2.1/", RuleAddress},
	{"https://192.88.99.1/", RuleAddress},
	{"https://198.18.0.1/", RuleAddress},
	{"https://198.51.100.1/", RuleAddress},
	{"https://203.0.113.1/", RuleAddress},
	{"https://224.0.0.1/", RuleAddress},
	{"https://239.255.255.250/", RuleAddress},
	{"https://240.0.0.1/", RuleAddress},
	{"https://255.255.255.255/", RuleAddress},
	{"https://[::1]:PORT/", RuleAddress},
	{"https://[0:0:0:0:0:0:0:1]:PORT/", RuleAddress},
	{"https://[::]:PORT/", RuleAddress},
	{"https://[::127.0.0.1]:PORT/", RuleAddress},
	{"https://[64:ff9b::7f00:1]:PORT/", RuleAddress},
	{"https://[64:ff9b:1::a9fe:a9fe]/", RuleAddress},
	{"https://[2001::1]/", RuleAddress},
	{"https://[2001:db8::1]/", RuleAddress},
	{"https://[2002:7f00:1::]/", RuleAddress},
	{"https://[3fff::1]/", RuleAddress},
	{"https://[100::1]/", RuleAddress},
	{"https://[4000::1]/", RuleAddress},
	{"https://[fd00:ec2::254]/", RuleAddress},
	{"https://[fc00::1]/", RuleAddress},
	{"https://[fe80::1]/", RuleAddress},
	{"https://[2606:4700::5efe:10.0.0.1]/", RuleAddress},
	{"https://[2606:4700::200:5efe:7f00:1]/", RuleAddress},
	{"https://[5f00::1]/", RuleAddress},
	{"https://[::ffff:169.254.169.254]/", RuleAddress},
	{"https://[::ffff:0:127.0.0.1]:PORT/", RuleAddress},
	{"https://[fec0::1]/", RuleAddress},
	{"https://[ff02::1]/", RuleAddress},
	// names of such addresses
	{"https://loopback.example.com:PORT/", RuleAddress},
	{"https://LOOPBACK.Example.COM:PORT/", RuleAddress},
	{"https://both.example.com:PORT/", RuleAddress},
	{"https://zero.example.com:PORT/", RuleAddress},
	{"https://mapped.example.com:PORT/", RuleAddress},
	{"https://nat64.example.com:PORT/", RuleAddress},
	{"https://6to4.example.com:PORT/", RuleAddress},
	{"https://link.example.com:PORT/", RuleAddress},
	{"https://metadata.google.internal/", RuleAddress},
}

// listedURLs are opened where photos.example.com, *.cdn.example.com, 10.0.0.7 and 127.0.0.1 are allowed, but no addresses.
var listedURLs = []urlRow{
	{"https://example.com/", RuleHost},
	{"https://cdn.example.com/", RuleHost},
	{"https://xcdn.example.com/", RuleHost},
	{"https://a.xcdn.example.com/", RuleHost},
	{"https://photos.example.com.evil.example/", RuleHost},
	{"https://evil.example/photos.example.com", RuleHost},
	{"https://evil.example/.cdn.example.com", RuleHost},
	{"https://evil.example#.cdn.example.com", RuleHost},
	{"https://evil.example?.cdn.example.com", RuleHost},
	{"https://evil-photos.example.com/", RuleHost},
	{"https://photos.example.com./", RuleHost},
	{"https://a.cdn.example.com./", RuleHost},
	{"https://.cdn.example.com/", RuleHost},
	{"https://*.cdn.example.com/", RuleHost},
	{"https://localhost:PORT/", RuleHost},
	{"https://127.0.0.2:PORT/", RuleHost},
	{"https://2130706433:PORT/", RuleHost},
	{"https://[::ffff:10.0.0.7]/", RuleHost},
	{"https://photos.example.com@evil.example/", RuleCredentials},
	{"https://a.cdn.example.com@127.0.0.1:PORT/", RuleCredentials},
	{"https://photos.example.com:8443/", RulePort},
	{"https://photos.example.com/", RuleAddress}, // to be listed doesn't make an address good
	{"https://a.cdn.example.com/", RuleAddress},
	{"https://10.0.0.7/", RuleAddress},
	{"https://127.0.0.1:PORT/", RuleAddress},
}
