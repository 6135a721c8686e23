"""The Ballast web service: an API over PostgreSQL, Redis, RabbitMQ and Celery."""
