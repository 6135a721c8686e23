"""ballast sweep: publish load queries whose message got lost. The workers do this by themselves, too."""

from typing import Any

from django.core.management.base import BaseCommand

from ballast import load_queries


class Command(BaseCommand):
    help = "Publish load queries again whose message got lost."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{load_queries.sweep()} published again")
