package gitsource

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	cases := map[string]struct {
		raw, endpoint, user, path, text string
	}{
		"https":          {"https://github.com/knit-dev/knit", "github.com:443", "", "/knit-dev/knit", "https://github.com/knit-dev/knit"},
		"https and port": {"https://Git.Example.com:8443/a%20b.git", "git.example.com:8443", "", "/a%20b.git", "https://git.example.com:8443/a%20b.git"},
		"ssh":            {"ssh://git@github.com/knit-dev/knit.git", "github.com:22", "git", "/knit-dev/knit.git", "ssh://git@github.com/knit-dev/knit.git"},
		"ssh and port":   {"ssh://deploy@git.example.com:2222/~me/x", "git.example.com:2222", "deploy", "/~me/x", "ssh://deploy@git.example.com:2222/~me/x"},
		"ssh, no user":   {"ssh://git.example.com/x", "git.example.com:22", "git", "/x", "ssh://git@git.example.com/x"},
		"scp":            {"git@github.com:knit-dev/knit.git", "github.com:22", "git", "knit-dev/knit.git", "git@github.com:knit-dev/knit.git"},
		"scp absolute":   {"git@host:/srv/x.git", "host:22", "git", "/srv/x.git", "git@host:/srv/x.git"},
		"IPv4":           {"https://198.51.100.7/x", "198.51.100.7:443", "", "/x", "https://198.51.100.7/x"},
		"IPv6":           {"https://[2001:DB8::1]:444/x", "[2001:db8::1]:444", "", "/x", "https://[2001:db8::1]:444/x"},
		"mapped IPv4":    {"https://[::ffff:10.0.0.1]/x", "10.0.0.1:443", "", "/x", "https://10.0.0.1/x"},
		"root dot":       {"https://github.com./x", "github.com:443", "", "/x", "https://github.com/x"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a, err := Parse(c.raw)
			if err != nil {
				t.Fatal(err)
			}
			if a.Endpoint() != c.endpoint || a.User != c.user || a.Path != c.path || a.String() != c.text {
				t.Errorf("%s %s %s %s, want %+v", a.Endpoint(), a.User, a.Path, a, c)
			}
			if again, err := Parse(a.String()); err != nil || again != a {
				t.Errorf("%s reads back as %+v, %v", a, again, err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	cases := map[string]struct{ raw, want string }{
		"nothing":            {"", "empty"},
		"file":               {"file:///etc", "knit deploy"},
		"http":               {"http://github.com/x", "change the code"},
		"git protocol":       {"git://github.com/x", "change the code"},
		"ftp":                {"ftp://github.com/x", "no scheme"},
		"upper case file":    {"FILE:///etc", "knit deploy"},
		"helper":             {"ext::sh -c id", "space"},
		"helper, no space":   {"ext::sh", "transport helper"},
		"helper of a URL":    {"fd::17/foo", "transport helper"},
		"a folder":           {"/srv/repo", "none of"},
		"relative folder":    {"../repo", "none of"},
		"option":             {"--upload-pack=touch", "option"},
		"option as host":     {"ssh://-oProxyCommand=id/x", "neither a host name"},
		"option as scp host": {"git@-oProxyCommand=id:x", "neither a host name"},
		"option as user":     {"ssh://-x@host/y", "user"},
		"option as path":     {"git@host:-x", "option"},
		"password":           {"https://me:secret@github.com/x", "secretName"},
		"token":              {"https://secret@github.com/x", "secretName"},
		"ssh password":       {"ssh://git:secret@github.com/x", "secretName"},
		"no host":            {"https:///x", "no host"},
		"no path":            {"https://github.com/", "no repository"},
		"query":              {"https://github.com/x?service=y", "query"},
		"fragment":           {"https://github.com/x#main", "revision"},
		"newline":            {"https://github.com/x\nHost: y", "control"},
		"escaped newline":    {"ssh://git@host/x%0Ay", "control"},
		"backslash":          {"https://github.com\\@evil.example/x", "backslash"},
		"beyond ASCII":       {"https://gıthub.com/x", "ASCII"},
		"port 0":             {"https://github.com:0/x", "port"},
		"large port":         {"https://github.com:65536/x", "port"},
		"decimal address":    {"https://2130706433/x", "usual form"},
		"hexadecimal":        {"https://0x7f000001/x", "usual form"},
		"short address":      {"https://127.1/x", "usual form"},
		"octal address":      {"https://0177.0.0.1/x", "usual form"},
		"zone":               {"https://[fe80::1%25eth0]/x", "zone"},
		"long":               {"https://github.com/" + strings.Repeat("x", maxURL), "longer"},
		"long label":         {"https://" + strings.Repeat("x", 64) + ".com/x", "neither a host name"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a, err := Parse(c.raw)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, error %v, want %q", a, err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret@") {
				t.Errorf("the error repeats a password: %v", err)
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	open := Policy{}
	own, err := ParsePolicy("", "10.1.2.0/24, 127.0.0.0/8\nfd12::/16")
	if err != nil {
		t.Fatal(err)
	}
	listed, err := ParsePolicy("github.com *.example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		policy Policy
		url    string
		want   string // part of the refusal
	}{
		"public name":           {open, "https://github.com/x", ""},
		"public address":        {open, "https://140.82.121.4/x", ""},
		"public IPv6":           {open, "https://[2606:50c0:8000::153]/x", ""},
		"localhost":             {open, "https://localhost/x", "machine itself"},
		"below localhost":       {open, "https://a.localhost/x", "machine itself"},
		"localhost with dot":    {open, "https://LocalHost./x", "machine itself"},
		"metadata by name":      {open, "https://metadata.google.internal/x", "machine itself"},
		"loopback":              {open, "https://127.0.0.1/x", "not public"},
		"loopback IPv6":         {open, "ssh://git@[::1]/x", "not public"},
		"mapped loopback":       {open, "https://[::ffff:7f00:1]/x", "not public"},
		"metadata":              {open, "https://169.254.169.254/x", "metadata"},
		"metadata of Azure":     {open, "https://168.63.129.16/x", "metadata"},
		"metadata IPv6":         {open, "https://[fd00:ec2::254]/x", "metadata"},
		"link-local IPv6":       {open, "https://[fe80::1]/x", "metadata"},
		"unspecified":           {open, "https://0.0.0.0/x", "metadata"},
		"office":                {open, "git@10.1.2.3:x", "git-allowed-cidrs"},
		"carrier":               {open, "https://100.100.100.200/x", "not public"},
		"unique local":          {open, "https://[fd12::1]/x", "not public"},
		"translated":            {open, "https://[64:ff9b::a00:1]/x", "not public"},
		"6to4":                  {open, "https://[2002:a00:1::]/x", "not public"},
		"teredo":                {open, "https://[2001::1]/x", "not public"},
		"compatible IPv4":       {open, "https://[::7f00:1]/x", "not public"},
		"multicast":             {open, "https://224.0.0.1/x", "refused"},
		"broadcast":             {open, "https://255.255.255.255/x", "refused"},
		"own server":            {own, "https://10.1.2.3/x", ""},
		"beside the own server": {own, "https://10.1.3.3/x", "not public"},
		"own IPv6":              {own, "https://[fd12::1]/x", ""},
		"own and metadata":      {own, "https://169.254.169.254/x", "metadata"},
		"listed":                {listed, "https://github.com/x", ""},
		"below a listed":        {listed, "https://git.example.com/x", ""},
		"the listed top":        {listed, "https://example.com/x", "git-allowed-hosts"},
		"alike":                 {listed, "https://evilexample.com/x", "git-allowed-hosts"},
		"not listed":            {listed, "https://gitlab.com/x", "git-allowed-hosts"},
		"address not listed":    {listed, "https://140.82.121.4/x", "git-allowed-hosts"},
		"on some platform":      {AnyPlatform(), "https://192.168.1.1/x", ""},
		"on no platform":        {AnyPlatform(), "https://127.0.0.1/x", "not public"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a, err := Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			err = c.policy.Check(a)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	for _, c := range []struct{ hosts, ranges, want string }{
		{"", "10.1.2.3", "address range"},
		{"", "10.1.2.3/24", "address range"},
		{"", "169.254.169.254/32", "never allowed"},
		{"", "0.0.0.0/0", "never allowed"},
		{"", "::/0", "never allowed"},
		{"a/b", "", "git-allowed-hosts"},
		{"*", "", "git-allowed-hosts"},
	} {
		if _, err := ParsePolicy(c.hosts, c.ranges); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %q: error %v, want %q", c.hosts, c.ranges, err, c.want)
		}
	}
}

func TestCredentialHosts(t *testing.T) {
	hosts, err := ParseCredentialHosts("github.com, Git.Example.com:8443")
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]bool{
		"https://github.com/x":           true,
		"git@github.com:x":               true,
		"https://github.com:8443/x":      false,
		"https://git.example.com:8443/x": true,
		"https://git.example.com/x":      false,
		"https://evil.example/x":         false,
		"https://github.com.evil.org/x":  false,
	} {
		a, err := Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		if got := hosts.Allow(a); got != want {
			t.Errorf("%s: %v, want %v", url, got, want)
		}
	}
	for _, list := range []string{"", " , ", "*", "https://github.com", "me@github.com", "github.com/x"} {
		if _, err := ParseCredentialHosts(list); err == nil {
			t.Errorf("%q is taken", list)
		}
	}
}

func TestResolve(t *testing.T) {
	cases := map[string]struct{ base, raw, want string }{
		"beside":         {"https://host/org/repo.git", "../lib.git", "https://host/org/lib.git"},
		"below":          {"https://host/org/repo", "./lib", "https://host/org/repo/lib"},
		"scp":            {"git@host:org/repo.git", "../lib.git", "git@host:org/lib.git"},
		"ssh":            {"ssh://git@host:2222/org/repo.git", "../../other/lib", "ssh://git@host:2222/other/lib"},
		"absolute":       {"https://host/org/repo", "https://other/x", "https://other/x"},
		"above the top":  {"https://host/repo", "../../../x", "https://host/x"},
		"to the top":     {"https://host/repo", "../", ""},
		"file":           {"https://host/repo", "file:///etc", ""},
		"a plain folder": {"https://host/repo", "/etc", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			base, err := Parse(c.base)
			if err != nil {
				t.Fatal(err)
			}
			got, err := base.Resolve(c.raw)
			if (err != nil) != (c.want == "") || err == nil && got.String() != c.want {
				t.Errorf("%s, %v, want %q", got, err, c.want)
			}
		})
	}
}

// FuzzParse looks for an address that is taken and leads to the machine itself,
// or that does not mean the same when it is read again.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"https://github.com/x", "git@github.com:x", "ssh://a@[::1]:22/x", "https://127.0.0.1/x", "ext::sh", "https://a:b@c/d", "-x", "git@[::1]:x",
		"https://0x7f.1/x", "https://localhost./x", "ssh://git@host/a%2Fb", "https://h/%2e%2e/x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		a, err := Parse(raw)
		if err != nil {
			return
		}
		if strings.HasPrefix(a.Host, "-") || strings.HasPrefix(a.User, "-") || strings.HasPrefix(a.Path, "-") || a.Scheme != HTTPS && a.Scheme != SSH {
			t.Fatalf("%q is taken as %+v", raw, a)
		}
		again, err := Parse(a.String())
		if err != nil || again != a {
			t.Fatalf("%q is %+v, and read again %+v, %v", raw, a, again, err)
		}
		if (Policy{}).Check(a) != nil {
			return
		}
		if address, err := netip.ParseAddr(a.Host); err == nil && (!address.IsGlobalUnicast() || address.IsPrivate()) {
			t.Fatalf("%q leads to %s", raw, address)
		}
	})
}
