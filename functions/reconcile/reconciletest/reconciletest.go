// Package reconciletest helps to test controllers at two levels: with a fake API
// in memory, where every write can be made the last one of the process, and on a
// real cluster. Only tests import it.
package reconciletest

import (
	"context"
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// Fake is an API in memory that holds the objects. The kinds of the objects in
// withStatus have a status of their own, as on a real API server.
func Fake(t testing.TB, scheme *runtime.Scheme, withStatus []client.Object, objects ...client.Object) client.WithWatch {
	t.Helper()
	return fake.NewClientBuilder().WithScheme(scheme).WithRESTMapper(testrestmapper.TestOnlyStaticRESTMapper(scheme)).WithStatusSubresource(withStatus...).WithObjects(objects...).Build()
}

// Crash says where the process dies.
type Crash struct {
	// At is the number of the write, from 1, at which it happens; 0 is never.
	At int
	// Done says that the write still reached the API server.
	Done bool
}

// ErrDead is what a dead process gets from its client.
var ErrDead = errors.New("the process is dead")

// Mortal is a client of a process that dies at a write. From then on every call
// fails, so that nothing that is deferred can tidy up.
func Mortal(inner client.WithWatch, crash Crash) (c client.Client, writes *int) {
	m := &mortal{crash: crash}
	return interceptor.NewClient(inner, m.funcs()), &m.writes
}

type mortal struct {
	crash  Crash
	writes int
	dead   bool
}

func (m *mortal) write(do func() error) error {
	if m.dead {
		return ErrDead
	}
	m.writes++
	if m.writes != m.crash.At {
		return do()
	}
	m.dead = true
	if m.crash.Done {
		// What the write answered, the process never learns.
		_ = do()
	}
	return ErrDead
}

func (m *mortal) read(do func() error) error {
	if m.dead {
		return ErrDead
	}
	return do()
}

func (m *mortal) funcs() interceptor.Funcs {
	return interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			return m.read(func() error { return c.Get(ctx, key, obj, opts...) })
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			return m.read(func() error { return c.List(ctx, list, opts...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			return m.write(func() error { return c.Create(ctx, obj, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			return m.write(func() error { return c.Delete(ctx, obj, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			return m.write(func() error { return c.Update(ctx, obj, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return m.write(func() error { return c.Patch(ctx, obj, patch, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return m.write(func() error { return c.Apply(ctx, obj, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
			return m.write(func() error { return c.SubResource(sub).Update(ctx, obj, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return m.write(func() error { return c.SubResource(sub).Patch(ctx, obj, patch, opts...) })
		},
	}
}
