package orderapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/knit-dev/knit/sdk"
)

// book keeps orders as files of a folder, one each. One process writes it.
type book struct {
	folder string
	mu     sync.Mutex
}

func openBook(folder string) (*book, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("open the book of orders: %w", err)
	}
	return &book{folder: folder}, nil
}

// file is where an order lies. Ids are made by this program, of letters and
// digits; what a caller asks for may be anything.
func (b *book) file(id string) (string, error) {
	if !sku.MatchString(id) {
		return "", fs.ErrNotExist
	}
	return filepath.Join(b.folder, id+".json"), nil
}

// get returns an order, or an error of the status 404.
func (b *book) get(id string) (*Order, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read(id)
}

// add keeps a new order. One that is there already is returned instead.
func (b *book) add(order *Order) (kept *Order, isNew bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, err := b.read(order.ID); err == nil || sdk.StatusOf(err) != 404 {
		return known, false, err
	}
	return order, true, b.write(order)
}

// change lets a function work on an order and keeps the result.
func (b *book) change(id string, work func(*Order) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	order, err := b.read(id)
	if err != nil {
		return err
	}
	if err := work(order); err != nil {
		return err
	}
	return b.write(order)
}

func (b *book) remove(id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	name, err := b.file(id)
	if err != nil {
		return err
	}
	return os.Remove(name)
}

func (b *book) read(id string) (*Order, error) {
	name, err := b.file(id)
	if err != nil {
		return nil, sdk.Errorf(404, "there is no order %q", id)
	}
	content, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sdk.Errorf(404, "there is no order %q", id)
	}
	if err != nil {
		return nil, fmt.Errorf("read order %s: %w", id, err)
	}
	order := &Order{}
	if err := json.Unmarshal(content, order); err != nil {
		return nil, fmt.Errorf("read order %s: %w", id, err)
	}
	return order, nil
}

// write replaces the file as a whole: a process that ends in the middle leaves
// the former one.
func (b *book) write(order *Order) error {
	name, err := b.file(order.ID)
	if err != nil {
		return fmt.Errorf("keep order %q: that is no id", order.ID)
	}
	content, err := json.Marshal(order)
	if err != nil {
		return fmt.Errorf("keep order %s: %w", order.ID, err)
	}
	part := name + ".part"
	if err := os.WriteFile(part, content, 0o600); err != nil {
		return fmt.Errorf("keep order %s: %w", order.ID, err)
	}
	if err := os.Rename(part, name); err != nil {
		return fmt.Errorf("keep order %s: %w", order.ID, err)
	}
	return nil
}
