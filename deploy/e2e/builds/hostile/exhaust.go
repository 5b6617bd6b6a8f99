package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const mebibyte = 1 << 20

// waitForFile goes on when a test made the file, by exec.
func waitForFile(file string) error {
	fmt.Println("WAITING")
	for {
		if _, err := os.Stat(file); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func forever(string) error {
	fmt.Println("RUNNING for ever")
	for {
		time.Sleep(time.Second)
	}
}

// fillDisk writes until it is stopped. A failed write is no reason to end.
func fillDisk(dir string) error {
	fmt.Println("WRITING for ever")
	block := bytes.Repeat([]byte("x"), mebibyte)
	for i := 0; ; i++ {
		file := filepath.Join(dir, "fill-"+strconv.Itoa(i))
		if err := os.WriteFile(file, bytes.Repeat(block, 8), 0o644); err != nil {
			fmt.Println("HELD OFF:", err)
			time.Sleep(time.Second)
			continue
		}
		time.Sleep(100 * time.Millisecond) // fast enough to pass any limit, slow enough for the machine
	}
}

// makeFiles makes empty files, which take no disk but the node's inodes:
// "/layers=1000".
func makeFiles(what string) error {
	dir, number, _ := strings.Cut(what, "=")
	count, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	for i := range count {
		folder := filepath.Join(dir, "many", strconv.Itoa(i/1000))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, strconv.Itoa(i)), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// forkForever starts processes that stay until no more can be started, says
// how many there are, and goes on trying.
func forkForever(string) error {
	for started := 0; ; {
		// A shell that waits is small; Go's own start is not.
		err := exec.Command("/bin/busybox", "sleep", "3600").Start()
		if err == nil {
			started++
			continue
		}
		fmt.Printf("HELD OFF after %d processes: %v\n", started, err)
		time.Sleep(time.Second)
	}
}

func eatMemory(string) error {
	fmt.Println("EATING memory")
	var kept [][]byte
	for {
		block := make([]byte, mebibyte)
		for i := range block {
			block[i] = 1
		}
		kept = append(kept, block)
		if len(kept)%64 == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// fillShm fills the memory-backed folder that all phases share.
func fillShm(string) error {
	file, err := os.Create("/dev/shm/fill")
	if err != nil {
		fmt.Println("HELD OFF:", err)
		return nil
	}
	defer file.Close()
	block := bytes.Repeat([]byte("x"), mebibyte)
	for i := 0; ; i++ {
		if _, err := file.Write(block); err != nil {
			fmt.Printf("HELD OFF after %d MiB: %v\n", i, err)
			return nil
		}
		if i > 256 {
			found("more than 256 MiB of shared memory")
			return nil
		}
	}
}

// flood prints as many MiB as it is told.
func flood(amount string) error {
	mebibytes, err := strconv.Atoi(amount)
	if err != nil {
		return err
	}
	line := append(bytes.Repeat([]byte("x"), 1023), '\n')
	for range mebibytes * 1024 {
		if _, err := os.Stdout.Write(line); err != nil {
			return err
		}
	}
	return nil
}
