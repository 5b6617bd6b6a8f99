// Package deadletters keeps events that Knative could not deliver, and sends
// them again. Its Receiver is the dead-letter sink that brokers, channels and
// Functions name; its Store is a JetStream server (NATS), in which every
// namespace has a stream of its own, bounded by age and size, so that no tenant
// can push out the letters of another. The control plane runs both; the function
// service hands letters out by the interface DeadLetters. It keeps nothing in
// memory and makes no object of Kubernetes but the password of its server.
package deadletters
