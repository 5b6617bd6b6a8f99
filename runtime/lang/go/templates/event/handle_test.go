package function

import (
	"context"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
)

func TestHandleTakesAnOrder(t *testing.T) {
	e := event.New()
	e.SetID("7")
	e.SetType("com.example.order")
	e.SetSource("/test")
	if err := e.SetData(event.ApplicationJSON, map[string]string{"item": "tea"}); err != nil {
		t.Fatal(err)
	}
	reply, err := Handle(context.Background(), e)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Type() != "com.example.order.taken" || string(reply.Data()) != `{"item":"tea"}` {
		t.Errorf("got %v", reply)
	}
}
