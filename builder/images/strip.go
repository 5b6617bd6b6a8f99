package images

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Offsets of the section header table's fields in the header of a 64-bit ELF
// file (elf(5), Elf64_Ehdr).
const (
	elfSectionTable = 0x28 // e_shoff, 8 bytes
	elfSectionSizes = 0x3a // e_shentsize, e_shnum and e_shstrndx, 2 bytes each
)

// strip cuts symbols and debugging information off a linked program. The kernel
// and the loader go by the segments alone; sections beyond the last segment,
// and the table of sections itself, are for debuggers.
func strip(program []byte) ([]byte, error) {
	file, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return nil, err
	}
	if file.Class != elf.ELFCLASS64 || file.ByteOrder != binary.LittleEndian {
		return nil, fmt.Errorf("not a 64-bit little-endian program: %s %s", file.Class, file.Data)
	}
	end := uint64(0)
	for _, segment := range file.Progs {
		end = max(end, segment.Off+segment.Filesz)
	}
	if end == 0 || end > uint64(len(program)) {
		return nil, errors.New("the program's segments lie outside of its file")
	}
	stripped := bytes.Clone(program[:end])
	clear(stripped[elfSectionTable : elfSectionTable+8])
	clear(stripped[elfSectionSizes : elfSectionSizes+6])
	return stripped, nil
}

// writeProgram puts an executable file into the cache, whole or not at all.
func (c *Cache) writeProgram(to string, content []byte) error {
	part, err := os.CreateTemp(c.path("tmp"), "program-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(part.Name()) }()
	_, err = io.Copy(part, bytes.NewReader(content))
	if err := errors.Join(err, part.Chmod(0o755), part.Close()); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.Rename(part.Name(), to)
}
