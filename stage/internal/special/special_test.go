package special

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestKind(t *testing.T) {
	for text, kind := range map[string]string{
		"169.254.169.254": "metadata", "169.254.170.2": "metadata", "168.63.129.16": "metadata", "100.100.100.200": "metadata",
		"fd00:ec2::254": "metadata",

		"0.0.0.0": "unspecified", "0.0.0.1": "this network", "0.255.255.255": "this network",
		"10.0.0.0": "private", "10.255.255.255": "private", "172.16.0.0": "private", "172.31.255.255": "private",
		"192.168.0.0": "private", "192.168.255.255": "private",
		"100.64.0.0": "shared (CGNAT)", "100.127.255.255": "shared (CGNAT)",
		"127.0.0.0": "loopback", "127.255.255.255": "loopback", "169.254.0.0": "link-local", "169.254.255.255": "link-local",
		"192.0.0.8": "reserved", "192.31.196.1": "reserved", "192.52.193.1": "reserved", "192.175.48.1": "reserved",
		"192.0.2.1": "documentation", "198.51.100.1": "documentation", "203.0.113.1": "documentation",
		"192.88.99.1": "6to4", "198.18.0.0": "benchmark", "198.19.255.255": "benchmark",
		"224.0.0.0": "multicast", "239.255.255.255": "multicast", "240.0.0.0": "reserved", "255.255.255.254": "reserved",
		"255.255.255.255": "broadcast",

		"::": "unspecified", "::1": "loopback", "::2": "IPv4-compatible", "::8.8.8.8": "IPv4-compatible",
		"::ffff:8.8.8.8": "IPv4-mapped", "::ffff:0:8.8.8.8": "IPv4-translated",
		"64:ff9b::8.8.8.8": "NAT64", "64:ff9b:1::8.8.8.8": "NAT64", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff": "NAT64", "100::1": "discard",
		"2001::1": "Teredo", "2001:0:ffff::1": "Teredo", "2001:2::1": "benchmark", "2001:1::1": "reserved", "2001:1ff::1": "reserved",
		"2001:db8::1": "documentation", "3fff::1": "documentation", "3fff:fff::1": "documentation",
		"2002:808:808::1": "6to4", "2620:4f:8000::1": "reserved",
		"fc00::1": "unique local", "fdff::1": "unique local", "fe80::1": "link-local", "febf::1": "link-local", "fe80::1%eth0": "link-local",
		"fec0::1": "site-local", "feff::1": "site-local", "ff02::1": "multicast", "ffff::1": "multicast",
		"2606:4700::5efe:10.0.0.1": "ISATAP", "2606:4700::200:5efe:8.8.8.8": "ISATAP",
		"1000::1": "reserved", "4000::1": "reserved", "5f00::1": "reserved", "fe00::1": "reserved", "100:0:0:1::1": "reserved",

		"1.0.0.1": "", "8.8.8.8": "", "9.255.255.255": "", "11.0.0.0": "", "100.63.255.255": "", "100.128.0.0": "", "126.0.0.1": "",
		"128.0.0.1": "", "168.63.129.17": "", "169.253.255.255": "", "172.15.255.255": "", "172.32.0.0": "", "192.0.1.1": "",
		"192.88.98.1": "", "198.17.255.255": "", "198.20.0.0": "", "223.255.255.255": "",
		"2000::1": "", "2001:200::1": "", "2001:db9::1": "", "2003::1": "", "2606:4700::1111": "", "2606:4700::1%eth0": "",
		"3ffe::1": "", "3fff:1000::1": "", "2606:4700::100:5efe:8.8.8.8": "",
	} {
		assert.Equal(t, kind, Kind(netip.MustParseAddr(text)), text)
	}
}
