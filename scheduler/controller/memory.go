package controller

import (
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// memory is what this process knows of each Schedule. It saves work and is never
// needed: without it, as after a restart, the same is found out again.
type memory[V any] struct {
	mu sync.Mutex
	of map[client.ObjectKey]V
}

func (m *memory[V]) get(key client.ObjectKey) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.of[key]
	return v, ok
}

func (m *memory[V]) put(key client.ObjectKey, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[client.ObjectKey]V{}
	}
	m.of[key] = v
}

func (m *memory[V]) forget(key client.ObjectKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.of, key)
}
