package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// secrets are what a login, a token or a key looks like.
var secrets = regexp.MustCompile(`"auths?"\s*:|eyJhbGciOi[A-Za-z0-9_-]{10}|-----BEGIN [A-Z ]*PRIVATE KEY-----|client-key-data`)

// boring folders hold thousands of files of the toolchain.
var boring = map[string]bool{"/proc": true, "/sys": true, "/usr": true, "/opt": true, "/cnb": true}

const (
	largest  = 64 << 10 // bytes that are read of one file
	patience = 2 * time.Second
)

// look searches files, processes, the environment and the network.
func look(string) error {
	lookAtFiles()
	lookAtProcesses()
	lookAtNetwork(strings.Fields(os.Getenv("TARGETS0") + " " + os.Getenv("TARGETS1")))
	lookAtRegistry(os.Getenv("REGISTRY"))
	fmt.Println("LOOKED everywhere")
	return nil
}

func lookAtFiles() {
	for _, path := range []string{
		"/var/run/secrets", "/run/secrets", "/registry-credentials", "/registry-ca", "/root/.docker", "/home/cnb/.docker", "/kaniko",
		"/run/containerd/containerd.sock", "/var/run/docker.sock", "/dev/kmsg", "/dev/mem", "/dev/vda", "/etc/kubernetes",
	} {
		if _, err := os.Stat(path); err == nil {
			if _, err := os.ReadDir(path); err == nil {
				found("the folder %s", path)
			} else if file, err := os.Open(path); err == nil {
				file.Close()
				found("the file %s", path)
			}
		}
	}
	_ = filepath.WalkDir("/", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir
		}
		if boring[path] {
			return fs.SkipDir
		}
		if entry.Type().IsRegular() || entry.Type()&fs.ModeSymlink != 0 {
			lookInto(path)
		}
		return nil
	})
}

func lookInto(path string) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	content, _ := io.ReadAll(io.LimitReader(file, largest))
	if secrets.Match(content) {
		found("a secret in %s", path)
	}
}

// lookAtProcesses reads what other processes were given and what they hold.
func lookAtProcesses() {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		command, _ := os.ReadFile(process + "/cmdline")
		environment, _ := os.ReadFile(process + "/environ")
		name := string(bytes.ReplaceAll(command, []byte{0}, []byte{' '}))
		if secrets.Match(environment) {
			found("a secret in the environment of %s", name)
		}
		for _, foreign := range []string{"kubelet", "containerd", "etcd", "knit-cluster", "pause", "/app/"} {
			if strings.Contains(name, foreign) {
				found("the process %s of somebody else", name)
			}
		}
		for _, folder := range []string{"/root/registry-credentials", "/root/var/run/secrets"} {
			if _, err := os.ReadDir(process + folder); err == nil {
				found("%s of the process %s", folder, name)
			}
		}
	}
}

// lookAtNetwork dials what a build must not reach.
func lookAtNetwork(targets []string) {
	var all sync.WaitGroup
	for _, target := range targets {
		all.Go(func() {
			connection, err := net.DialTimeout("tcp", target, patience)
			if err == nil {
				connection.Close()
				found("an open port at %s", target)
			}
		})
	}
	all.Wait()
}

// lookAtRegistry asks the registry, which a build may reach, without a login
// and with guessed ones.
func lookAtRegistry(registry string) {
	if registry == "" {
		return
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, login := range []string{"", "knit:knit", "admin:admin", ":"} {
		for _, path := range []string{"/v2/", "/v2/_catalog", os.Getenv("VICTIM"), "/debug/health", "/metrics"} {
			request, err := http.NewRequest(http.MethodGet, "https://"+registry+path, nil)
			if err != nil {
				continue
			}
			if user, password, with := strings.Cut(login, ":"); with {
				request.SetBasicAuth(user, password)
			}
			response, err := client.Do(request)
			if err != nil {
				continue
			}
			response.Body.Close()
			if response.StatusCode < http.StatusBadRequest {
				found("%s of the registry with the login %q", path, login)
			}
		}
	}
}
